"""Image files <-> pictures in memory, with bit depth, colour profile and metadata.

    from cclnn.image import read_picture, write_picture
    picture = read_picture("scan.tif")

Names load when first used, so that the command line can list formats without loading numpy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cclnn.image.arrays import to_tensor
    from cclnn.image.formats import FORMATS, Format, ImageFileError, format_of
    from cclnn.image.names import ResultNames, name_results, result_name
    from cclnn.image.picture import Metadata, Picture, from_pil, to_pil
    from cclnn.image.read import preview, read_image, read_picture
    from cclnn.image.write import check_fits, check_target, convert, encode, save, write_picture, write_png

_HOME = {
    "FORMATS": "formats",
    "Format": "formats",
    "ImageFileError": "formats",
    "Metadata": "picture",
    "Picture": "picture",
    "ResultNames": "names",
    "check_fits": "write",
    "check_target": "write",
    "convert": "write",
    "encode": "write",
    "format_of": "formats",
    "from_pil": "picture",
    "name_results": "names",
    "preview": "read",
    "read_image": "read",
    "read_picture": "read",
    "result_name": "names",
    "save": "write",
    "to_pil": "picture",
    "to_tensor": "arrays",
    "write_picture": "write",
    "write_png": "write",
}
_MODULES = {"animation", *_HOME.values()}

__all__ = [
    "FORMATS",
    "Format",
    "ImageFileError",
    "Metadata",
    "Picture",
    "ResultNames",
    "check_fits",
    "check_target",
    "convert",
    "encode",
    "format_of",
    "from_pil",
    "name_results",
    "preview",
    "read_image",
    "read_picture",
    "result_name",
    "save",
    "to_pil",
    "to_tensor",
    "write_picture",
    "write_png",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"cclnn.image.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"cclnn.image.{name}")
    raise AttributeError(f"module 'cclnn.image' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
