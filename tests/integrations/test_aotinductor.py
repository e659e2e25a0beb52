"""A network with the sparse attention, compiled ahead of time to a library for all sizes."""

import shutil

import pytest
import torch
from conftest import annotations_are_checked
from torch.testing import assert_close

from cclnn.export import export
from cclnn.models import CCLNN

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's and the compiler's own


@pytest.fixture(autouse=True)
def compilable(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs the C++ compiler g++")


@torch.no_grad()
def test_the_library_computes_what_the_model_does(tmp_path):
    torch.manual_seed(0)
    model = CCLNN(2, channels=16, n_resblocks=1, n_hashes=2, chunk_size=36).eval()
    export(model, tmp_path / "network.pt2")
    with (tmp_path / "network.pt2").open("rb") as file:
        program = torch.export.load(file)
    library = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "compiled.pt2"))
    run = torch._inductor.aoti_load_package(library)
    for b, h, w in ((1, 1, 1), (1, 9, 33), (3, 17, 5), (1, 130, 200)):
        x = torch.rand(b, 3, h, w)
        assert_close(run(x), model(x), rtol=0, atol=1e-5)
