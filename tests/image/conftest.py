"""Fixtures of the image tests."""

import pytest
from image import zoo
from PIL import Image


@pytest.fixture
def photo():
    return Image.fromarray(zoo.pixels(3))
