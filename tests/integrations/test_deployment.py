"""Networks as machine code for all sizes: by torch.compile, and exported, as docs/guide/deploy.md shows."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import annotations_are_checked
from few_layers import few_layers
from torch.testing import assert_close

import cclnn
from cclnn.export import export
from cclnn.models import CCLNN, EDSR, VDSR

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's and the compiler's own


@pytest.fixture(autouse=True)
def compilable(request):
    if annotations_are_checked(request.config):
        pytest.skip("torch.export cannot trace the checks of annotations")
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs the C++ compiler g++")


@torch.no_grad()
def test_a_compiled_network_computes_the_same():
    model = few_layers(VDSR)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    for size in ((13, 17), (11, 19)):
        x = torch.rand(1, 3, *size)
        assert_close(compiled(x), model(x))


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


def test_the_guide_runs(monkeypatch, tmp_path):
    """Every Python example of docs/guide/deploy.md, one after the other, on a network that compiles in seconds."""
    convolutions = EDSR(2, channels=8, n_resblocks=1).eval()
    guide = Path(__file__).parents[2] / "docs" / "guide" / "deploy.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cclnn, "load", lambda name: convolutions)
    names = {}
    for block in blocks:
        exec(compile(block, "deploy.md", "exec"), names)
    for b, h, w in ((1, 1, 1), (3, 17, 5)):  # OpenVINO's and AOTInductor's at other sizes
        x = torch.rand(b, 3, h, w)
        with torch.no_grad():
            expected = convolutions(x)
        assert_close(torch.from_numpy(names["compiled"](x.numpy())[0]), expected, rtol=0, atol=1e-5)
        assert_close(names["run"](x), expected, rtol=0, atol=1e-5)
