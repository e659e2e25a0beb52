"""int8 networks by torchao's PT2E, as they are and compiled."""

import importlib.util

import pytest
import torch

from cclnn import CCLNBlock
from cclnn.models import CCLNN

if importlib.util.find_spec("torchao") is None:
    pytest.skip("torchao is not installed", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # torchao's own


def quantised(module, x):
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    # CPUs without VNNI add products of 8 bits in 16 bits, which saturate where inputs take all 8.
    configuration = x86.get_default_x86_inductor_quantization_config(reduce_range=True)
    quantizer = x86.X86InductorQuantizer().set_global(configuration)
    prepared = prepare_pt2e(torch.export.export(module, (x,)).module(), quantizer)
    prepared(x)
    return convert_pt2e(prepared)


def in_int8(program):
    """Convolutions whose input and weight have been int8; all convolutions."""
    convolutions = [n for n in program.graph.nodes if n.target is torch.ops.aten.conv2d.default]
    return sum(all("dequantize" in arg.name for arg in n.args[:2]) for n in convolutions), len(convolutions)


@torch.no_grad()
def test_every_convolution_of_the_block_and_none_of_the_attention():
    torch.manual_seed(0)
    block = CCLNBlock(16, chunk_size=36, n_hashes=2, return_loss=False).eval()
    x = torch.rand(1, 16, 20, 24)
    program, expected = quantised(block, x), block(x)
    assert in_int8(program) == (7, 7)
    assert 0 < (program(x) - expected).abs().max() < 0.02 * expected.abs().max()
    attention = [n for n in program.graph.nodes if n.target is torch.ops.cclnn.chunked_attend.default]
    assert len(attention) == 1
    assert not any("quantize" in arg.name for arg in attention[0].args[:2])
    torch._dynamo.reset()
    with torch._inductor.config.patch(freezing=True):  # as torch's guide has it: int8 kernels
        compiled = torch.compile(program)(x)
    assert (compiled - expected).abs().max() < 0.02 * expected.abs().max()


@torch.no_grad()
def test_a_network_keeps_its_image():
    torch.manual_seed(0)
    model = CCLNN(2, channels=16, n_resblocks=1, n_hashes=2, chunk_size=36).eval()
    x = torch.rand(1, 3, 20, 24)
    program = quantised(model, x)
    assert in_int8(program) == (13, 15)  # the shifts by the mean stay as they are
    error = (program(x) - model(x)).square().mean().sqrt()
    assert 0 < error < 0.02
