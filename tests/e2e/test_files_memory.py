"""With a fixed tile, memory grows with the pixels of source and result and with nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import json, sys
from pathlib import Path
import numpy as np
import cclnn

def resident(key):
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key)]
    return int(line.split()[1]) * 1024

upscaler = cclnn.Upscaler(cclnn.EDSR(2, channels=8, n_resblocks=1), tile=128, overlap=8, precision="fp32")
upscaler(np.zeros((300, 700, 3), np.uint8))  # what is allocated once is there

def extra(height, way):
    image = np.random.default_rng(0).integers(0, 256, (height, 700, 3), dtype=np.uint8)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    if way == "whole":
        assert upscaler(image).shape == (2 * height, 1400, 3)
    else:
        assert sum(band.shape[0] for band in upscaler.bands(image)) == 2 * height
    return resident("VmHWM") - before

print(json.dumps([extra(*case) for case in json.loads(sys.argv[1])]))
"""


# glibc's malloc gives freed memory back to the system at once, so that what is resident is what is in use.
RETURN_WHAT_IS_FREED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "OMP_NUM_THREADS": "1"}


pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure")


# The smallest first, so that no earlier one can have left memory that hides what a later one takes.
CASES = [(400, "bands"), (3200, "bands"), (400, "whole"), (3200, "whole")]


@pytest.fixture(scope="module")
def extra():
    """Height and way -> the bytes that one process took, for one after the other."""
    command = [sys.executable, "-c", MEASURE, json.dumps(CASES)]
    environment = {**os.environ, **RETURN_WHAT_IS_FREED}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("way", "bytes_per_pixel"), [("whole", 2 * 2 * 3), ("bands", 0)])
def test_memory_grows_by_the_result_alone(way, bytes_per_pixel, extra):
    """Eight times the rows: the result's bytes (none, where it is taken in bands) and at most 4 MiB besides.

    The result in bytes is 22 MiB, a copy of it in float32 would be 90 MiB more.
    """
    small, large = 400, 3200
    growth = extra[large, way] - extra[small, way]
    assert growth <= bytes_per_pixel * (large - small) * 700 + 4 * 2**20
