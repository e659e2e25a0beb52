"""Names of results: which files are images, what their results are called, and which of them are left to make."""

import pytest

from cclnn.image import name_results, result_name
from cclnn.image.formats import reads_heic


@pytest.mark.parametrize(
    ("image", "kind", "result"),
    [
        ("a.jpg", "png", "a.png"),
        ("sub.dir/a.b.JPEG", "jpeg", "sub.dir/a.b.jpg"),
        ("sub.dir/a", "tiff", "sub.dir/a.tif"),
    ],
)
def test_a_result_has_its_images_name(image, kind, result):
    assert result_name(image, kind) == result


def test_images_without_results_are_to_do():
    files = ["b.JPG", "a.gif", "sub/c.bmp", "sub/.hidden.png", "notes.txt", "done.webp", ".sub", "png"]
    names = name_results(iter(files), ["done.jpg", "a.png"], "jpeg")
    assert names.todo == {"a.gif": "a.jpg", "b.JPG": "b.jpg", "sub/c.bmp": "sub/c.jpg"}
    assert not names.refused


def test_of_images_with_one_result_the_first_by_name_gets_it_also_when_it_is_done():
    for existing in ([], ["a.png"]):
        names = name_results(["a.webp", "a.bmp", "sub/a.bmp"], existing)
        assert names.refused == {"a.webp": "its result would replace that of 'a.bmp'"}
        assert names.todo == {**({} if existing else {"a.bmp": "a.png"}), "sub/a.bmp": "sub/a.png"}


def test_kinds_that_are_not_read_are_refused(monkeypatch):
    names = name_results(["a.dng", "b.jxl"], [])
    assert names.refused["a.dng"] == "a camera's raw format is not supported: convert it to PNG"
    assert names.refused["b.jxl"] == "JPEG XL is not supported: convert it to PNG"
    assert reads_heic()
    assert name_results(["c.heic"], []).todo == {"c.heic": "c.png"}
    monkeypatch.setattr("cclnn.image.names.reads_heic", lambda: False)
    assert name_results(["c.heic"], []).refused == {"c.heic": 'HEIC needs pillow-heif: pip install "cclnn[heif]"'}
