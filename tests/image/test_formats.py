"""The table of formats, and the names of `cclnn.image`."""

import subprocess
import sys

import pytest

import cclnn.image
from cclnn.image import FORMATS, ImageFileError, format_of
from cclnn.image.formats import BY_SUFFIX, READABLE


def test_the_format_is_that_of_the_suffix():
    assert [format_of(f"out{suffix}") for suffix in (".png", ".JPG", ".jpeg", ".webp", ".TIF", ".tiff", ".avif")] == [
        *("png", "jpeg", "jpeg", "webp", "tiff", "tiff", "avif")
    ]
    with pytest.raises(ImageFileError, match=r"its name must end in \.apng, .*\.webp, or give the format"):
        format_of("out.xyz")


def test_what_can_be_written_can_be_read():
    for name, entry in FORMATS.items():
        assert set(entry.suffixes) <= set(READABLE[entry.pillow])
        assert all(BY_SUFFIX[suffix] == name for suffix in entry.suffixes)


def test_formats_load_with_the_standard_library_alone():
    """`cclnn upscale` plans its work from them before anything large is imported."""
    code = "import sys, cclnn.image.formats; print({'numpy', 'torch', 'PIL', 'einops'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_image_imports_no_model(after_torch):
    names = "'cclnn.models', 'cclnn.hub', 'cclnn.upscaler', 'cclnn.layers'"
    code = (
        f"import sys, cclnn.image as i; [getattr(i, name) for name in i.__all__]; print({{{names}}} & set(sys.modules))"
    )
    done = after_torch.run(code)
    assert done.stdout == "set()\n", done.stderr


def test_public_names_are_attributes():
    assert set(dir(cclnn.image)) == set(cclnn.image.__all__)
    assert all(getattr(cclnn.image, name) is not None for name in cclnn.image.__all__)
    with pytest.raises(AttributeError, match=r"module 'cclnn\.image' has no attribute 'files'"):
        cclnn.image.files  # noqa: B018
