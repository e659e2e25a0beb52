"""Cosine similarity, centred queries, a local round, tokens of several pixels: against a dense oracle, and what each
of them is for.
"""

import copy
import itertools
import math

import pytest
import torch
from conftest import annotations_are_checked
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import CCLNBlock, NonLocalSparseAttention
from cclnn.ops import lsh_attention

OPTIONS = [
    {"similarity": "cosine"},
    {"centre": True},
    {"local_round": True},
    {"stride": 2},
    {"similarity": "cosine", "centre": True},
    {"similarity": "cosine", "centre": True, "local_round": True, "stride": 2},
    {"similarity": "cosine", "stride": 3, "local_round": True},
]
BACKENDS = ["reference", "chunked", "portable"]  # "fused": tests/ops/test_fused.py

every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
backends = pytest.mark.parametrize("backend", BACKENDS)


def layer_of(options, **arguments):
    """A layer of 8 channels whose queries have a common direction, and a mean query that is not zero."""
    layer = NonLocalSparseAttention(8, reduction=2, **{"n_hashes": 3, "chunk_size": 5, **options, **arguments})
    with torch.no_grad():
        layer.conv_match.bias.copy_(torch.linspace(-0.5, 0.7, 4))
        if layer.centre:
            layer.mean_query.copy_(torch.tensor([0.3, -0.2, 0.1, 0.25]))
    return layer


def oracle(layer, x, rotations, *, training):
    """The layer's output by its definition, with dense scores: token by token where that decides, no plan.

    Multiplicity[i, j] is how often token i meets token j; the output is a softmax weighted by it.
    """
    s, (batch, _, rows, columns) = layer.stride, x.shape
    height, width = math.ceil(rows / s), math.ceil(columns / s)
    down = [min(row, rows - 1) for row in range(height * s)]
    right = [min(column, columns - 1) for column in range(width * s)]
    blocks = x[:, :, down][:, :, :, right].reshape(batch, -1, height, s, width, s)
    blocks = blocks.permute(0, 1, 3, 5, 2, 4).reshape(batch, -1, height, width)
    q = F.conv2d(blocks, layer.conv_match.weight, layer.conv_match.bias, padding=1).flatten(2).mT
    v = F.conv2d(blocks, layer.conv_assembly.weight, layer.conv_assembly.bias).flatten(2).mT
    mean = torch.zeros_like(q[:, :1])
    if layer.centre:
        mean = q.mean(dim=1, keepdim=True) if training else layer.mean_query.expand(batch, 1, -1)
    direction = q - mean
    if layer.similarity == "cosine":
        k = direction / direction.norm(dim=-1, keepdim=True).clamp_min(5e-5)  # one token is its own mean
        scores = layer.logit_scale.exp() * (k @ k.mT)
    else:
        scores = q @ (q / q.norm(dim=-1, keepdim=True)).mT
    n, m = height * width, min(layer.chunk_size, height * width)
    half = layer.n_buckets(n) // 2
    multiplicity = torch.zeros(batch, n, n, dtype=x.dtype)
    for image in range(batch):
        for r in range(layer.n_hashes):
            if layer.local_round and r == layer.n_hashes - 1:
                strips = math.ceil(width / math.isqrt(3 * layer.chunk_size))
                codes = [column * strips // width for _ in range(height) for column in range(width)]
            else:
                projected = direction[image].float() @ rotations[:, r, :half]
                codes = torch.cat([projected, -projected], dim=1).argmax(dim=1).tolist()
            order = sorted(range(n), key=codes.__getitem__)
            order += order[n - (-n % m) :] if n % m else []
            chunks = [order[start : start + m] for start in range(0, len(order), m)]
            seen = set()
            for place, chunk in enumerate(chunks):
                met = [*chunks[place - 1], *chunk, *chunks[(place + 1) % len(chunks)]]
                for token in chunk:
                    if token not in seen:  # a copy that fills the last chunk asks nothing
                        seen.add(token)
                        for other in met:
                            multiplicity[image, token, other] += 1
    weights = multiplicity * (scores - scores.amax(dim=-1, keepdim=True)).exp()
    attended = (weights / weights.sum(dim=-1, keepdim=True)) @ v
    if s > 1:
        attended = F.linear(attended, layer.conv_expand.weight.flatten(1), layer.conv_expand.bias)
    pixels = attended.mT.reshape(batch, -1, s, s, height, width).permute(0, 1, 4, 2, 5, 3)
    pixels = pixels.reshape(batch, -1, height * s, width * s)[:, :, :rows, :columns]
    return x + layer.res_scale * pixels


def with_gradients(layer, x, y):
    """The output, and its gradients in x and in each parameter, for a cotangent that is not constant."""
    cotangent = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    inputs = {"x": x, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad((y * cotangent).sum(), list(inputs.values()))
    return {"y": y.detach(), **dict(zip(inputs, gradients, strict=True))}


@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 2), (9, 7), (5, 17), (1, 23)])
@pytest.mark.parametrize("training", [False, True])
@backends
@every_option
def test_equals_the_dense_oracle(options, backend, training, h, w):
    """Outputs and the gradients of x, of both convolutions, of tau and of the expansion."""
    layer = layer_of(options, backend=backend, res_scale=0.7, dtype=torch.float64).train(training)
    x = torch.randn(2, 8, h, w, dtype=torch.float64, requires_grad=True)
    rotations = torch.randn(4, layer.rotations.shape[1], 64)
    expected = oracle(layer, x, rotations, training=training)  # first: forward moves the running mean
    got = with_gradients(layer, x, layer(x, rotations=rotations))
    wanted = with_gradients(layer, x, expected)
    assert_close(got, wanted, rtol=1e-9, atol=1e-9)
    if "logit_scale" in got and h * w > 4:
        assert got["logit_scale"].abs() > 1e-6


@backends
def test_one_token_is_its_own_mean_and_attends_to_itself(backend):
    """Its direction is the zero vector: every score is 0, the output its own value, and gradients are finite."""
    layer = layer_of({"similarity": "cosine", "centre": True}, backend=backend).train()
    x = torch.randn(1, 8, 1, 1, requires_grad=True)
    found = with_gradients(layer, x, layer(x))
    assert_close(found["y"], (x + layer.conv_assembly(x)).detach())
    assert all(tensor.isfinite().all() for tensor in found.values())


@every_option
def test_its_steps_are_the_whole_layer(options):
    layer = layer_of(options).eval()
    x = torch.randn(2, 8, 9, 7)
    match = layer.match(x)
    attended = lsh_attention(match.query, layer.values(x), match.plan)
    assert torch.equal(layer.add(x, attended), layer(x))
    s = layer.stride
    assert match.size == (-(-9 // s), -(-7 // s))
    assert match.codes.shape == (2, 3, match.size[0] * match.size[1])


def test_defaults_have_the_papers_parameters_and_no_buffer():
    layer = NonLocalSparseAttention(8)
    keys = {f"{name}.{kind}" for name in ("conv_match", "conv_assembly") for kind in ("weight", "bias")}
    assert layer.state_dict().keys() == keys
    every = NonLocalSparseAttention(8, **OPTIONS[-2])
    assert every.state_dict().keys() == {*keys, "logit_scale", "mean_query", "conv_expand.weight", "conv_expand.bias"}
    assert {name for name, _ in every.named_buffers()} == {"mean_query", "rotations"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_scores_lie_below_tau_and_tau_below_its_limit(dtype):
    """A tau that training drove beyond 100 counts as 100 and has no gradient; the result is an average of values."""
    layer = layer_of({"similarity": "cosine"}, dtype=dtype).eval()
    with torch.no_grad():
        layer.logit_scale.fill_(9.0)
    x = torch.randn(1, 8, 9, 7, dtype=dtype, requires_grad=True)
    norm = layer.match(x).query.norm(dim=-1)
    assert_close(norm, torch.full_like(norm, 100.0), rtol=4 * torch.finfo(dtype).eps, atol=0.0)
    value = layer.values(x).detach()
    attended = layer(x) - x
    assert attended.isfinite().all()
    slack = 8 * torch.finfo(dtype).eps * value.abs().max()
    assert (attended.flatten(2).mT >= value.amin(dim=1, keepdim=True) - slack).all()
    assert (attended.flatten(2).mT <= value.amax(dim=1, keepdim=True) + slack).all()
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), layer.logit_scale)
    assert gradient == 0


def test_tau_starts_at_ten():
    assert_close(NonLocalSparseAttention(8, similarity="cosine").logit_scale.exp().item(), 10.0)


def test_cosine_does_not_see_the_length_of_queries():
    layer = layer_of({"similarity": "cosine"}).double().eval()
    longer = copy.deepcopy(layer)
    with torch.no_grad():
        longer.conv_match.weight *= 7
        longer.conv_match.bias *= 7
    x = torch.randn(1, 8, 9, 7, dtype=torch.float64)
    assert_close(longer(x), layer(x))


def effective_buckets(codes):
    share = codes.flatten().bincount() / codes.numel()
    return 1 / share.square().sum()


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_centring_spreads_queries_of_one_direction_over_the_buckets(similarity):
    x = torch.randn(1, 8, 31, 37)
    found = []
    for centre in (False, True):
        torch.manual_seed(0)
        layer = NonLocalSparseAttention(8, reduction=1, similarity=similarity, centre=centre, chunk_size=20)
        with torch.no_grad():
            layer.conv_match.bias.fill_(3.0)
        found.append(effective_buckets(layer.train().match(x).codes))
    assert found[1] > 3 * found[0]


def test_the_mean_follows_training_and_only_training():
    layer = layer_of({"centre": True}).train()
    expected = layer.mean_query.clone()
    for _ in range(3):
        x = torch.randn(3, 8, 9, 7)
        expected = 0.9 * expected + 0.1 * layer.conv_match(x).mean(dim=(0, 2, 3))
        layer.match(x)
        layer(x)
        assert_close(layer.mean_query, expected)
    before = layer.mean_query.clone()
    layer.eval()(x)
    assert torch.equal(layer.mean_query, before)
    again = layer_of({"centre": True}).eval()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))


@every_option
def test_an_image_alone_gives_the_same_as_in_a_batch(options):
    layer = layer_of(options).double()
    x = torch.randn(3, 8, 9, 7, dtype=torch.float64)
    rotations = torch.randn(4, layer.rotations.shape[1], 64)
    for training in (False, True):
        state = copy.deepcopy(layer.state_dict())
        y = layer.train(training)(x, rotations=rotations)
        for i in range(3):
            layer.load_state_dict(state)
            assert_close(layer(x[i : i + 1], rotations=rotations), y[i : i + 1], rtol=1e-12, atol=1e-12)


def test_a_tile_compares_pixels_as_the_whole_image_does():
    """In evaluation the mean is that of training, not of the tile; only its border, where conv_match pads, differs."""
    layer = layer_of({"similarity": "cosine", "centre": True}).eval()
    x = torch.randn(1, 8, 20, 24)
    whole = layer.match(x).query.reshape(20, 24, 4)
    tile = layer.match(x[:, :, 4:15, 6:19]).query.reshape(11, 13, 4)
    assert_close(tile[1:-1, 1:-1], whole[5:14, 7:18], rtol=0, atol=1e-5)


def met(match):
    """met[i, j]: token i meets token j. With zero queries every token met has a weight."""
    n = match.query.shape[1]
    weights = lsh_attention(torch.zeros(1, n, 1), torch.eye(n)[None], match.plan)
    return weights[0] > 0


@pytest.mark.parametrize(("h", "w", "m"), [(9, 7, 12), (23, 31, 36), (13, 50, 27), (40, 3, 16)])
def test_near_pixels_of_a_strip_meet_in_the_local_round(h, w, m):
    """Whatever the image: here one whose hash buckets are random."""
    layer = layer_of({"local_round": True}, chunk_size=m, n_hashes=2).eval()
    match = layer.match(torch.randn(1, 8, h, w))
    meets = met(match).reshape(h, w, h, w)
    strips = math.ceil(w / math.isqrt(3 * m))
    strip = [column * strips // w for column in range(w)]
    reach = m // max(strip.count(s) for s in set(strip)) - 1
    assert reach >= 0
    for (row, column), (down, other) in itertools.product(
        itertools.product(range(h), range(w)), itertools.product(range(-reach, reach + 1), range(w))
    ):
        if strip[column] == strip[other] and 0 <= row + down < h:
            assert meets[row, column, row + down, other]
    hashed = layer_of({}, chunk_size=m, n_hashes=1).eval()
    hashed.load_state_dict(layer.state_dict())
    assert not met(hashed.match(torch.randn(1, 8, h, w))).all()


@pytest.mark.parametrize(("h", "w"), [(12, 10), (11, 9), (1, 1), (1, 7), (2, 3)])
def test_two_by_two_pixels_are_a_token(h, w):
    """A quarter of the tokens, rounded up; every pixel has a gradient."""
    layer = layer_of({"stride": 2})
    x = torch.randn(2, 8, h, w, requires_grad=True)
    assert layer.values(x).shape == (2, -(-h // 2) * -(-w // 2), 8)
    y = layer(x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad((y - x).square().sum(), x)
    assert (gradient.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
@backends
@every_option
def test_low_precision_layers_keep_their_dtype_and_come_near(options, backend, low):
    """With the same plan: the plan of rounded queries is another one."""
    layer = layer_of(options, backend=backend, dtype=low).eval()
    exact = copy.deepcopy(layer).double()
    x = torch.randn(2, 8, 13, 17).to(low)
    y = layer(x)
    assert y.dtype == low
    match = layer.match(x)
    assert match.query.dtype == low
    wide = x.double()
    attended = lsh_attention(exact.match(wide).query, exact.values(wide), match.plan)
    assert_close(y.double(), exact.add(wide, attended), rtol=0, atol=64 * torch.finfo(low).eps)


@backends
@every_option
def test_autocast_keeps_float32_features_float32_and_trains(options, backend):
    layer = layer_of(options, backend=backend).train()
    x = torch.randn(2, 8, 13, 17, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.float32
    y.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


@every_option
def test_evaluation_repeats_itself_and_leaves_the_random_state_alone(options):
    layer = layer_of(options).eval()
    x = torch.randn(2, 8, 13, 17)
    before = torch.get_rng_state()
    first = layer(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(layer(x), first)
    again = layer_of(options).eval()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), first)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
@pytest.mark.parametrize("training", [False, True])
@every_option
def test_compiles_to_one_graph(options, training, request):
    """fullgraph raises on a graph break; the running mean moves as it does in eager mode."""
    if annotations_are_checked(request.config):
        pytest.skip("torch.compile cannot trace the checks of annotations into one graph")
    torch._dynamo.reset()  # every kind of layer compiles `forward` anew, and a process may do so eight times
    eager = layer_of(options).train(training)
    module = copy.deepcopy(eager)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 8, 11, 7, requires_grad=True)
    results = []
    for call, owner in ((compiled, module), (eager, eager)):
        torch.manual_seed(7)
        results.append(with_gradients(owner, x, call(x)))
    assert_close(*results, rtol=1e-4, atol=1e-5)
    assert_close(module.state_dict(), eager.state_dict())


@every_option
def test_exports(options):
    layer = layer_of(options).eval()
    x = torch.randn(1, 8, 11, 7)
    exported = torch.export.export(layer, (x,)).module()
    assert_close(exported(x), layer(x))


def test_the_block_passes_them_on():
    options = OPTIONS[-2]
    block = CCLNBlock(32, chunk_size=7, **options)
    for name, value in options.items():
        assert getattr(block.nonlocal_attention, name) == value


def test_messages(rejects):
    with rejects("`similarity` must be one of 'dot', 'cosine', got 'cosin'. Did you mean 'cosine'?"):
        NonLocalSparseAttention(8, similarity="cosin")
    with rejects("`stride` must be at least 1, got 0"):
        NonLocalSparseAttention(8, stride=0)
    with rejects("`n_hashes`=1 leaves no round to hash beside local_round=True: take at least 2"):
        NonLocalSparseAttention(8, n_hashes=1, local_round=True)
    layer = NonLocalSparseAttention(8, stride=2)
    with rejects(r"`x` must have shape \(b c=8 h w\), got \(2, 32, 5, 7\)"):
        layer(torch.rand(2, 32, 5, 7))
    with rejects(r"`rotations` must have shape \(e=2 r axes\), got \(3, 4, 1\)"):
        layer.match(torch.rand(2, 8, 5, 7), rotations=torch.rand(3, 4, 1))
