"""Folders of images -> decoded once into one memory-mapped file of uint8 pixels, shared by all processes."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from einops import rearrange
from tqdm import tqdm

from cclnn.evaluation.datasets import read_rgb
from cclnn.ops import imresize

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
# Where the training images lie below the root of a set: DIV2K, Flickr2K, BSDS300 and BSDS500.
LAYOUTS = ("DIV2K_train_HR", "Flickr2K_HR", "images/train", "BSDS500/data/images/train")
# Beside a folder of HR images, reduced ones: DIV2K_train_LR_bicubic/X2/0001x2.png, Flickr2K_LR_bicubic/X2/...
REDUCED = "{folder}/X{scale}/{name}x{scale}{suffix}"

Picture = npt.NDArray[np.uint8]  # h w 3


class Pictures:
    """A sequence of uint8 RGB images [h, w, 3], read-only views of one file; cheap to send to another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = json.loads((folder / "index.json").read_text())
        self.names: list[str] = index["names"]
        self.shapes: list[tuple[int, int]] = [(height, width) for height, width in index["shapes"]]
        self.left_out: list[str] = index["left_out"]
        ends = np.cumsum([height * width * 3 for height, width in self.shapes], dtype=np.int64)
        self.starts = [0, *ends[:-1].tolist()]
        self._bytes: Picture | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Picture:
        if self._bytes is None:
            self._bytes = np.memmap(self.folder / "pixels", np.uint8, "r")
        height, width = self.shapes[i]
        start = self.starts[i]
        return self._bytes[start : start + height * width * 3].reshape(height, width, 3)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_bytes": None}  # the other process maps the file itself


def find(folders: Iterable[str]) -> list[Path]:
    """Images of all folders, those of a known data set where its usual folder of training images is there."""
    found: list[Path] = []
    for root in map(Path, folders):
        if not root.is_dir():
            sys.exit(f"--data {root}: there is no such folder")
        folder = next((root / layout for layout in LAYOUTS if (root / layout).is_dir()), root)
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            sys.exit(f"--data {folder}: no image in it ({', '.join(sorted(SUFFIXES))})")
        found += paths
    return found


def reduced(path: Path, scale: int) -> Path | None:
    """The LR file that DIV2K and Flickr2K have for an HR file, if it is there."""
    folder = path.parent.with_name(path.parent.name.replace("HR", "LR_bicubic"))
    lr = Path(REDUCED.format(folder=folder, scale=scale, name=path.stem, suffix=path.suffix))
    return lr if lr != path and lr.is_file() else None


def decode(paths: list[Path], cache: Path, *, scale: int = 1, least: int = 1) -> Pictures:
    """Pictures of these files, reduced by `scale` if that is above 1, decoded now or in an earlier run.

    Broken files, and those with a side below `least` pixels, are left out and named. Reduced ones are read where they
    lie beside the HR file, else made by MATLAB's bicubic from the HR image, cropped to a multiple of the scale.
    """
    folder = cache / _key(paths, scale, least)
    if not (folder / "index.json").is_file():
        _fill(folder, paths, lambda path: _read(path, scale, least))
    pictures = Pictures(folder)
    for line in pictures.left_out:
        print(f"left out {line}", file=sys.stderr)
    if not len(pictures):
        sys.exit(f"--data: no usable image of {least} pixels per side or more among {len(paths)} files")
    return pictures


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cclnn" / "pictures"


def _key(paths: list[Path], scale: int, least: int) -> str:
    """Of what is decoded: another size or time of any file, another key."""
    digest = hashlib.sha256(f"1 {scale} {least}".encode())
    for path in paths:
        for file in (path, reduced(path, scale)):
            if file is not None:
                facts = file.stat()
                digest.update(f"\n{file.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _fill(folder: Path, paths: list[Path], read: Callable[[Path], Picture]) -> None:
    """Decode in threads, write in order into a temporary folder, rename it: there is all of a cache or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    names, shapes, left_out = [], [], []
    try:
        with (temporary / "pixels").open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda path: _try(read, path), paths)
            for path, result in zip(
                paths, tqdm(results, "decoding", len(paths), unit="image", disable=None), strict=True
            ):
                if isinstance(result, str):
                    left_out.append(result)
                    continue
                file.write(result.data)
                names.append(str(path))
                shapes.append(result.shape[:2])
        index = {"names": names, "shapes": shapes, "left_out": left_out}
        (temporary / "index.json").write_text(json.dumps(index))
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / "index.json").is_file():  # another run was faster: take its
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _try(read: Callable[[Path], Picture], path: Path) -> Picture | str:
    try:
        return read(path)
    except (ValueError, OSError) as error:
        return str(error)


def _read(path: Path, scale: int, least: int) -> Picture:
    """One image as RGB [h, w, 3], checked and reduced as `decode` says."""
    hr = read_rgb(path)
    height, width = (length // scale * scale for length in hr.shape[2:])
    if min(height, width) < least:
        raise ValueError(f"{str(path)!r} has {hr.shape[3]} x {hr.shape[2]} pixels, {least} are needed.")
    stored = reduced(path, scale)
    if scale == 1:
        image = hr
    elif stored is None:
        image = imresize(hr[:, :, :height, :width], 1 / scale)
    else:
        image = read_rgb(stored)
        if image.shape[2:] != (height // scale, width // scale):
            found = f"{image.shape[3]} x {image.shape[2]}"
            raise ValueError(f"{str(stored)!r} has {found} pixels, not 1/{scale} of {width} x {height}.")
    return rearrange(image, "1 c h w -> h w c").contiguous().numpy()
