"""Folders of images -> decoded once into one memory-mapped file of uint8 pixels, shared by all processes."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from tqdm import tqdm

from cclnn.image import read_picture
from cclnn.ops import imresize

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
LAYOUTS = ("DIV2K_train_HR", "Flickr2K_HR", "images/train")  # folders of DIV2K, Flickr2K, BSDS300 and BSDS500
# Beside a folder of HR images, reduced ones: DIV2K_train_LR_bicubic/X2/0001x2.png, Flickr2K_LR_bicubic/X2/...
REDUCED = "{folder}/X{scale}/{name}x{scale}{suffix}"

STALE = 24 * 3600  # seconds after which what a killed run left half decoded is removed

Picture = npt.NDArray[np.uint8]  # h w 3


class Pictures:
    """A sequence of uint8 RGB images [h, w, 3], read-only views of one file; cheap to send to another process.

    Args:
        folder: written by `decode`.
        least: smaller images, by either side, are left out.
    """

    def __init__(self, folder: Path, least: int = 1) -> None:
        self.folder = folder
        index = json.loads((folder / "index.json").read_text())
        self.names: list[str] = []
        self.shapes: list[tuple[int, int]] = []
        self.starts: list[int] = []
        self.left_out: list[str] = list(index["left_out"])
        start = 0
        for name, (height, width) in zip(index["names"], index["shapes"], strict=True):
            if min(height, width) >= least:
                self.names.append(name)
                self.shapes.append((height, width))
                self.starts.append(start)
            else:
                self.left_out.append(f"{name!r}: it has {width} x {height} pixels, {least} are needed")
            start += height * width * 3
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
    """Images of all folders, each once; of a folder that holds known data sets, those that they mean for training."""
    found: dict[Path, Path] = {}
    for root in map(Path, folders):
        if not root.is_dir():
            sys.exit(f"--data {root}: there is no such folder")
        known = sorted(
            folder for layout in LAYOUTS for folder in {root, *root.rglob(layout)}
            if folder.is_dir() and folder.as_posix().endswith(f"/{layout}")
        )  # fmt: skip
        paths = sorted(
            path for folder in known or [root] for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
        )
        if not paths:
            where = ", ".join(map(str, known or [root]))
            sys.exit(f"--data {where}: no image in it ({', '.join(sorted(SUFFIXES))})")
        for path in paths:
            found.setdefault(path.resolve(), path.absolute())
    return list(found.values())


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
    folder = cache / _key(paths, scale)
    if not (folder / "index.json").is_file():
        try:
            _fill(folder, paths, lambda path: _read(path, scale))
        except OSError as error:
            sys.exit(f"cannot keep the decoded images in {cache}: {error}; name another folder with --cache")
    pictures = Pictures(folder, least)
    for line in pictures.left_out:
        print(f"left out {line}", file=sys.stderr)
    if not len(pictures):
        sys.exit(f"--data: no usable image of {least} pixels per side or more among {len(paths)} files")
    return pictures


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cclnn" / "pictures"


def _key(paths: list[Path], scale: int) -> str:
    """The cache's key: it changes with the path, the size or the time of any decoded file."""
    digest = hashlib.sha256(f"2 {scale}".encode())
    for path in paths:
        for file in (path, reduced(path, scale)):
            if file is not None:
                digest.update(f"\n{file} {_size_and_time(file)}".encode())
    return digest.hexdigest()[:16]


def _size_and_time(file: Path) -> tuple[int, int] | None:
    try:
        facts = file.stat()
    except OSError:  # a link to nothing; reading it will say so
        return None
    return facts.st_size, facts.st_mtime_ns


def _fill(folder: Path, paths: list[Path], read: Callable[[Path], Picture]) -> None:
    """Decode in threads, write in order into a temporary folder, rename it: there is all of a cache or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".*.decoding"):
        if time.time() - left.stat().st_mtime > STALE:
            shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".decoding"))
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
            file.flush()
            os.fsync(file.fileno())  # the index must not outlive the pixels in a power cut
        index = {"names": names, "shapes": shapes, "left_out": left_out}
        (temporary / "index.json").write_text(json.dumps(index))
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp gives 0700, but others may train on the same cache
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
    except Exception as error:  # noqa: BLE001  # decoders raise anything for a broken file; it is named
        return str(error) if str(path) in str(error) else f"{str(path)!r}: {error}"


def _read(path: Path, scale: int) -> Picture:
    """One image as RGB [h, w, 3], reduced as `decode` says."""
    hr = _to_rgb(path)
    if scale == 1:
        return hr
    height, width = (length // scale for length in hr.shape[:2])
    stored = reduced(path, scale)
    if stored is None:
        image = torch.from_numpy(hr[: height * scale, : width * scale].copy())
        image = imresize(rearrange(image, "h w c -> 1 c h w"), 1 / scale)
        return rearrange(image, "1 c h w -> h w c").contiguous().numpy()
    lr = _to_rgb(stored)
    if lr.shape[:2] != (height, width):
        found = f"{lr.shape[1]} x {lr.shape[0]}"
        raise ValueError(f"{stored.name} has {found} pixels, not 1/{scale} of {width * scale} x {height * scale}")
    return lr


def _to_rgb(path: Path) -> Picture:
    """8 bits of red, green and blue; opacity must be full, since what lies below is not meant to be seen."""
    picture = read_picture(path)
    pixels = picture.pixels
    if picture.mode == "CMYK":
        raise ValueError("it is CMYK; convert it to RGB")
    if picture.mode in {"LA", "RGBA"}:
        if pixels[..., -1].min() < np.iinfo(pixels.dtype).max:
            raise ValueError("it is transparent in places")
        pixels = pixels[..., :-1]
    if picture.bits == 16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # to the nearest
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
