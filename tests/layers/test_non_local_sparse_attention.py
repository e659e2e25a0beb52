"""NLSA: released tensors by every backend, any size and dtype, determinism, randomness in training."""

import copy
import itertools

import pytest
import torch
from einops import rearrange
from golden.reader import assert_golden, assert_golden_gradients, cases, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import NonLocalSparseAttention
from cclnn.ops import hash_codes, lsh_attention, make_plan
from cclnn.ops.sparse_attention import BACKENDS, plan_from_order

ALL = ["reference", "chunked", "portable"]  # "fused" computes the same on a GPU only: tests/ops/test_fused.py
# below a chunk of 144, exactly one, one token more, primes, a line
SIZES = [(1, 1), (1, 200), (200, 1), (11, 13), (12, 12), (5, 29), (13, 17), (2, 3), (31, 37)]

backends = pytest.mark.parametrize("backend", ALL)


def layer_of(case, backend="auto"):
    """The layer with a golden file's weights."""
    params = case.params
    layer = NonLocalSparseAttention(
        params["C"],
        reduction=params["reduction"],
        n_hashes=params["n_hashes"],
        chunk_size=params["chunk_size"],
        res_scale=params["res_scale"],
        backend=backend,
    )
    state = {key.replace(".0.", "."): tensor for key, tensor in case.under("state.").items()}
    layer.to(case["input.x"].dtype).load_state_dict(state)
    return layer.eval()


def tolerance(case):
    return 1e-4 if "bigscore" in case.name else 1e-5


def tokens(features):
    return rearrange(features, "b c h w -> b (h w) c")


def attend(layer, x, plan):
    """The layer's arithmetic around a given plan."""
    out = lsh_attention(tokens(layer.conv_match(x)), tokens(layer.conv_assembly(x)), plan, backend=layer.backend)
    return x + layer.res_scale * rearrange(out, "b (h w) c -> b c h w", h=x.shape[2])


@backends
@cases("nlsa_fwd")
def test_golden_forward(name, backend):
    case = read(name)
    layer, x = layer_of(case, backend), case["input.x"].requires_grad_()
    y = layer(x, rotations=case.rotations())
    assert_golden(y, case["output.y"], float32=tolerance(case))
    if "cotangent" in case:
        (y * case["cotangent"]).sum().backward()
        named = {key.replace(".", ".0."): parameter for key, parameter in layer.named_parameters()}
        assert_golden_gradients(case, x, named, float32=tolerance(case))


def test_golden_gradients_are_among_the_forward_cases():
    assert [name for name in ("nlsa_fwd07_grad.f32", "nlsa_fwd07_grad.f64") if "cotangent" in read(name)]


@cases("nlsa_fwd")
def test_golden_embeddings_codes_and_order(name):
    case = read(name)
    layer, x = layer_of(case), case["input.x"]
    match, assembly = layer.conv_match(x), layer.conv_assembly(x)
    if "inter.x_embed" in case:
        assert_golden(match, case["inter.x_embed"], float32=1e-5)
        assert_golden(assembly, case["inter.y_embed"], float32=1e-5)
    params = case.params
    assert layer.n_buckets(params["L"]) == params["hash_buckets"]
    codes = hash_codes(tokens(match), case.rotations())
    offset = torch.arange(params["n_hashes"])[:, None] * params["hash_buckets"]
    assert torch.equal((codes + offset).flatten(1), case["inter.hash_codes"])
    plan = make_plan(codes, chunk_size=params["chunk_size"])
    assert torch.equal(plan.slots[..., : params["L"]], case.order(rounds=params["n_hashes"], tokens=params["L"]))
    assert plan.slots.shape[-1] == params["num_chunks"] * params["chunk_size"]


@backends
@cases("nlsa_codes")
def test_golden_attention_with_given_codes(name, backend):
    case = read(name)
    layer, x, params = layer_of(case, backend), case["input.x"], case.params
    n = params["H"] * params["W"]
    codes = case["input.hash_codes"].unflatten(-1, (params["n_hashes"], n))
    plan = make_plan(codes, chunk_size=params["chunk_size"])
    assert torch.equal(plan.slots[..., :n], case.order(rounds=params["n_hashes"], tokens=n))
    assert_golden(attend(layer, x, plan), case["output.y"], float32=1e-5)


@backends
@cases("nlsa_unstable")
def test_golden_unstable_sort_needs_its_own_order(name, backend):
    """Quirk: our sort is stable, the released code's is not; its order reproduces its output, ours does not."""
    case = read(name)
    layer, x, params = layer_of(case, backend), case["input.x"], case.params
    order = case.order(rounds=params["n_hashes"], tokens=params["L"])
    plan = plan_from_order(order, chunk_size=params["chunk_size"])
    assert_golden(attend(layer, x, plan), case["output.y"], float32=1e-5)
    codes = hash_codes(tokens(layer.conv_match(x)), case.rotations())
    assert torch.equal(codes.gather(-1, order).diff(dim=-1) >= 0, torch.ones_like(order[..., 1:], dtype=torch.bool))
    stable = make_plan(codes, chunk_size=params["chunk_size"])
    assert not torch.equal(stable.slots[..., : params["L"]], order)
    assert (layer(x, rotations=case.rotations()) - case["output.y"]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("n", "buckets"),
    [(1, 2), (143, 2), (144, 2), (431, 2), (432, 4), (2304, 16), (9216, 64), (18287, 126), (18288, 128), (10**6, 128)],
)
def test_bucket_count_is_even_and_capped(n, buckets):
    """The examples of the released code's rule; below one chunk, where it fails, two."""
    assert NonLocalSparseAttention(8).n_buckets(n) == buckets


@backends
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_any_size_gives_features_of_that_size_with_gradients(h, w, backend, device):
    layer = NonLocalSparseAttention(8, n_hashes=2, backend=backend).to(device)
    x = torch.randn(2, 8, h, w, device=device, requires_grad=True)
    for mode in (True, False):
        y = layer.train(mode)(x)
        assert y.shape == x.shape
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        assert y.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_backends_agree_on_the_whole_layer(h, w, device):
    layer = NonLocalSparseAttention(8, backend="reference").double().eval().to(device)
    fast = copy.deepcopy(layer)
    fast.backend = "chunked"
    x = torch.randn(2, 8, h, w, dtype=torch.float64, device=device)
    assert_close(fast(x), layer(x), rtol=1e-10, atol=1e-10)


@backends
@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 3), (11, 13), (12, 12)])
def test_up_to_one_chunk_is_plain_attention(h, w, backend):
    """An oracle that knows nothing of hashing: softmax attention over all pixels with normalised keys."""
    layer = NonLocalSparseAttention(8, res_scale=0.7, backend=backend).double().eval()
    x = torch.randn(2, 8, h, w, dtype=torch.float64)
    q, v = tokens(layer.conv_match(x)), tokens(layer.conv_assembly(x))
    out = F.scaled_dot_product_attention(q, F.normalize(q, dim=-1, eps=5e-5), v, scale=1.0)
    expected = x + 0.7 * rearrange(out, "b (h w) c -> b c h w", h=h)
    assert_close(layer(x), expected)
    assert_close(layer.train()(x), expected)  # whatever the rotations


@pytest.mark.parametrize(("h", "w"), [(5, 7), (13, 17)])
def test_an_image_alone_gives_the_same_as_in_a_batch(h, w):
    layer = NonLocalSparseAttention(8).double().eval()
    x = torch.randn(3, 8, h, w, dtype=torch.float64)
    y = layer(x)
    for i in range(3):
        assert_close(layer(x[i : i + 1]), y[i : i + 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@backends
def test_low_precision_layers_keep_their_dtype_and_come_near(low, backend):
    layer = NonLocalSparseAttention(8, backend=backend).eval()
    x = torch.randn(2, 8, 13, 17)
    rounded = copy.deepcopy(layer).to(low)
    exact = copy.deepcopy(rounded).double()
    y = rounded(x.to(low))
    assert y.dtype == low
    assert_close(y.double(), exact(x.to(low).double()), rtol=0, atol=16 * torch.finfo(low).eps)


@backends
def test_channels_last_input_gives_the_same(backend):
    layer = NonLocalSparseAttention(8, backend=backend).eval()
    x = torch.randn(2, 8, 13, 17)
    expected = layer(x)
    layer.to(memory_format=torch.channels_last)
    assert_close(layer(x.to(memory_format=torch.channels_last)), expected, rtol=0, atol=1e-5)


@backends
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_keeps_float32_features_float32(low, backend):
    layer = NonLocalSparseAttention(8, backend=backend).eval()
    x = torch.randn(2, 8, 13, 17, requires_grad=True)
    with torch.autocast("cpu", dtype=low):
        y = layer(x)
    assert y.dtype == torch.float32
    # a bucket may change with the rounded embedding, so that only the size of the difference is bounded
    assert (y - layer(x)).abs().max() < 0.1
    assert (y - layer(x)).abs().max() > 0
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_evaluation_repeats_itself_and_leaves_the_random_state_alone():
    layer = NonLocalSparseAttention(8).eval()
    x = torch.randn(2, 8, 13, 17)
    before = torch.get_rng_state()
    first = layer(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert torch.equal(layer(x), first)


def test_construction_draws_the_rotations_from_their_own_generator():
    """Rotations do not depend on, nor advance, the global random state beyond what the convolutions draw."""
    torch.manual_seed(1)
    layer = NonLocalSparseAttention(8)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    torch.nn.Conv2d(8, 2, 3), torch.nn.Conv2d(8, 8, 1)
    assert torch.equal(torch.get_rng_state(), after)
    torch.manual_seed(2)
    assert torch.equal(NonLocalSparseAttention(8).rotations, layer.rotations)


def test_training_draws_new_rotations_from_the_default_generator():
    layer = NonLocalSparseAttention(8).train()
    x = torch.randn(1, 8, 31, 37)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)


def test_seeds_reproduce_and_differ():
    x = torch.randn(1, 8, 31, 37)
    weights = NonLocalSparseAttention(8).state_dict()
    outputs = []
    for seed in (0, 0, 1, 2):
        layer = NonLocalSparseAttention(8, seed=seed).eval()
        layer.load_state_dict(weights)
        outputs.append(layer(x))
    assert torch.equal(outputs[0], outputs[1])
    for a, b in itertools.combinations(outputs[1:], 2):
        assert not torch.equal(a, b)


def test_fewer_buckets_use_the_leading_rotations():
    layer = NonLocalSparseAttention(8).eval()
    x = torch.randn(1, 8, 24, 31)  # 744 tokens: 6 buckets
    assert torch.equal(layer(x), layer(x, rotations=layer.rotations[..., :3]))
    assert not torch.equal(layer(x), layer(x, rotations=layer.rotations[..., 1:4]))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_casting_there_and_back_keeps_the_rotations(low):
    layer = NonLocalSparseAttention(8, seed=5)
    before = layer.rotations.clone()
    layer.to(low)
    assert layer.rotations.dtype == torch.float32
    assert torch.equal(layer.rotations, before)
    layer.float()
    assert torch.equal(layer.rotations, before)
    assert torch.equal(copy.deepcopy(layer).rotations, before)


def test_rotations_follow_the_device_but_are_drawn_on_the_cpu(device):
    layer = NonLocalSparseAttention(8, seed=5)
    assert torch.equal(copy.deepcopy(layer).to(device).rotations.cpu(), layer.rotations)
    meta = copy.deepcopy(layer).to("meta")
    assert torch.equal(meta.to_empty(device="cpu").rotations, layer.rotations)
    with torch.device("meta"):
        late = NonLocalSparseAttention(8, seed=5)
    assert torch.equal(late.to_empty(device="cpu").rotations, layer.rotations)


def test_state_dict_holds_the_two_convolutions_and_no_rotations():
    keys = {"conv_match.weight", "conv_match.bias", "conv_assembly.weight", "conv_assembly.bias"}
    for backend in BACKENDS:
        assert NonLocalSparseAttention(8, backend=backend).state_dict().keys() == keys


@pytest.mark.parametrize(("channels", "count"), [(64, 13_392), (128, 53_408), (256, 213_312)])
def test_parameter_counts_of_the_released_layer(channels, count):
    assert sum(parameter.numel() for parameter in NonLocalSparseAttention(channels).parameters()) == count


def test_messages(rejects):
    layer = NonLocalSparseAttention(8)
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(2, 6, 5, 7\)"):
        layer(torch.rand(2, 6, 5, 7))
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(8, 5, 7\)"):
        layer(torch.rand(8, 5, 7))
    with rejects(r"`x` must not be empty, got shape \(2, 8, 0, 7\)"):
        layer(torch.rand(2, 8, 0, 7))
    with rejects(r"`rotations` must have shape \(e=2 r axes\), got \(3, 4, 1\)"):
        layer(torch.rand(2, 8, 5, 7), rotations=torch.rand(3, 4, 1))
    with rejects("`reduction`=4 must divide `channels`=10"):
        NonLocalSparseAttention(10)
    with rejects("`reduction` must be at least 1, got 0"):
        NonLocalSparseAttention(8, reduction=0)
    with rejects("`channels` must be at least 1, got 0"):
        NonLocalSparseAttention(0)
    with rejects("`n_hashes` must be at least 1, got 0"):
        NonLocalSparseAttention(8, n_hashes=0)
    with rejects("`chunk_size` must be at least 1, got 0"):
        NonLocalSparseAttention(8, chunk_size=0)
    with rejects("`backend` must be one of 'auto', 'reference', 'chunked', 'portable', 'fused', got 'triton'"):
        NonLocalSparseAttention(8, backend="triton")


def test_too_few_rotations_are_rejected(rejects):
    """24 x 31 pixels need 6 buckets, so 3 axes of each round."""
    layer = NonLocalSparseAttention(8)
    with rejects("`rotations` .*3.*got"):
        layer(torch.rand(1, 8, 24, 31), rotations=torch.rand(2, 4, 2))


@pytest.mark.parametrize("name", ["n_hashes", "seed"])
def test_what_the_rotations_depend_on_is_fixed(name):
    layer = NonLocalSparseAttention(8, n_hashes=2, seed=3)
    with pytest.raises(AttributeError, match=rf"`{name}` cannot be set later: .* Make a layer with {name}=5 and load"):
        setattr(layer, name, 5)
    assert (layer.n_hashes, layer.seed) == (2, 3)
    again = NonLocalSparseAttention(8, n_hashes=2, seed=5)
    again.load_state_dict(layer.state_dict())
