"""Files in a folder or an object store, by pyarrow: `pip install pyarrow` (Ray Data brings it)."""

import posixpath
import uuid
from pathlib import Path
from typing import Any


class Storage:
    """The files below a folder, or a URI such as s3://bucket/folder; their names are relative, with slashes.

    It can be pickled and used by many processes at a time. `filesystem` and `root` are what pyarrow makes of the place.

    Args:
        place: a folder, or a URI that pyarrow opens. It need not exist.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: pyarrow does not know this kind of URI.
    """

    def __init__(self, place: str) -> None:
        try:
            from pyarrow.fs import FileSystem
        except ImportError as error:
            raise ImportError("storage beyond one machine needs pyarrow: pip install pyarrow") from error
        self.filesystem: Any
        self.root: str
        self.filesystem, self.root = FileSystem.from_uri(place if "://" in place else Path(place).resolve().as_posix())
        self._ending = f".{uuid.uuid4().hex}.part"  # of names of files that are not written to the end

    def __contains__(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self.filesystem.get_file_info(self.path(name)).is_file)

    def path(self, name: str) -> str:
        """How `filesystem` calls a file."""
        return f"{self.root}/{name}"

    def name(self, path: str) -> str:
        """The name of a file that `filesystem` calls so."""
        return posixpath.relpath(path, self.root)

    def names(self) -> list[str]:
        """The names of all files, also in subfolders, sorted."""
        from pyarrow.fs import FileSelector

        found = self.filesystem.get_file_info(FileSelector(self.root, recursive=True, allow_not_found=True))
        return sorted(self.name(file.path) for file in found if file.is_file)

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a file, all of it or nothing, and the folders above it."""
        target = self.path(name)
        folder, last = posixpath.split(target)
        part = f"{folder}/.{last}{self._ending}"
        self.filesystem.create_dir(folder, recursive=True)
        try:
            with self.filesystem.open_output_stream(part) as stream:
                stream.write(content)
            self.filesystem.move(part, target)
        finally:
            if self.filesystem.get_file_info(part).is_file:
                self.filesystem.delete_file(part)

    def remove_parts(self) -> None:
        """Remove what processes with this object, or pickled copies of it, began to write and died over."""
        for name in self.names():
            if name.endswith(self._ending):
                self.filesystem.delete_file(self.path(name))
