"""Momentum contrast: a step of released code, cross-entropy as a formula, the queue."""

import math

import torch
from golden.reader import assert_golden, cases, official_name, read
from torch.nn import functional as F
from torch.testing import assert_close

from cclnn.layers import DegradationEncoder
from cclnn.losses import MomentumContrast, momentum_contrast_loss
from cclnn.losses.momentum_contrast import contrast_scores

QUERY, KEY = ({"body": f"{name}.E", "head": f"{name}.mlp"} for name in ("encoder_q", "encoder_k"))


def give(module, case, names, prefix="state."):
    module.load_state_dict({key: case[prefix + official_name(key, names)] for key in module.state_dict()})


@cases("dasr_moco")
def test_golden_step(name):
    case = read(name)
    p = case.params
    first, hidden, width = (int(part) for part in p["widths"].split("/"))
    encoder = DegradationEncoder(first, hidden=hidden, features=width, dtype=torch.float64).train()
    moco = MomentumContrast(encoder, width=width, queue_size=p["K"], momentum=p["m"], temperature=p["T"])
    give(encoder, case, QUERY)
    give(moco.key_encoder, case, KEY)
    moco.queue.copy_(case["state.queue"])
    moco.position.copy_(case["state.queue_ptr"][0])
    queue = moco.queue.clone()

    features, loss = moco(encoder, case["input.im_q"], case["input.im_k"])
    assert_golden(features, case["output.embedding"], float32=1e-5)
    assert_golden(loss, case["output.loss"], float32=1e-5)
    for module, names in ((encoder, QUERY), (moco.key_encoder, KEY)):
        for key, tensor in module.state_dict().items():
            after = case.tensors.get(f"output.after.{official_name(key, names)}")
            if after is not None:
                assert_close(tensor, after, rtol=1e-12, atol=1e-12)
    assert_golden(moco.queue, case["output.after.queue"], float32=1e-5)
    assert moco.position.item() == case["output.after.queue_ptr"].item()
    embedding = encoder.head(features)
    scores = contrast_scores(embedding, moco.queue[:, p["queue_ptr"] :].mT[: len(embedding)], queue, temperature=p["T"])
    assert_golden(scores, case["output.logits"], float32=1e-5)
    assert_golden(F.cross_entropy(scores, case["output.labels"]), case["output.loss"], float32=1e-5)

    loss.backward()
    largest = max(x.abs().max().item() for x in case.under("grad.state.").values())
    for key, parameter in encoder.named_parameters():
        expected = case[f"grad.state.{official_name(key, QUERY)}"]
        scale = expected.abs().max().item()
        before_norm = scale < 1e-12 * largest  # a bias that batch normalisation takes off: zero up to rounding
        assert_golden(parameter.grad, expected, float32=1e-5, scale=largest if before_norm else scale)
    assert all(parameter.grad is None for parameter in moco.key_encoder.parameters())


def test_loss_is_the_negative_logarithm_of_the_positive_share():
    q, k = torch.randn(2, 3, 5, dtype=torch.float64)
    queue = F.normalize(torch.randn(5, 7, dtype=torch.float64), dim=0)
    shares = []
    for a, b in zip(q, k, strict=True):
        a, b = a / a.norm(), b / b.norm()
        positive = math.exp(a @ b / 0.2)
        shares.append(positive / (positive + sum(math.exp(a @ n / 0.2) for n in queue.T)))
    expected = -sum(map(math.log, shares)) / 3
    assert_close(momentum_contrast_loss(q, k, queue, temperature=0.2).item(), expected)


def test_loss_is_float32_or_wider():
    q = torch.randn(3, 5).bfloat16()
    assert momentum_contrast_loss(q, q, torch.randn(5, 7)).dtype == torch.float32


def test_queue_replaces_the_oldest_and_begins_again():
    encoder = DegradationEncoder(2, hidden=2, features=4)
    moco = MomentumContrast(encoder, width=4, queue_size=6)
    assert_close(moco.queue.norm(dim=0), torch.ones(6))
    for start in (0, 2, 4, 0):
        before = moco.queue.clone()
        assert moco.position.item() == start
        moco(encoder, torch.rand(2, 3, 8, 9), torch.rand(2, 3, 8, 9))
        changed = moco.queue.ne(before).any(dim=0)
        assert changed.nonzero().flatten().tolist() == [start, start + 1]


def test_key_encoder_follows_parameters_but_keeps_its_statistics():
    encoder = DegradationEncoder(2, hidden=2, features=4)
    moco = MomentumContrast(encoder, width=4, queue_size=6, momentum=0.75)
    before = {key: x.clone() for key, x in moco.key_encoder.state_dict().items()}
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1)
        encoder.body[1].running_mean.add_(5)
    moco.follow(encoder)
    for key, parameter in moco.key_encoder.named_parameters():
        assert_close(parameter.data, before[key] + 0.25)
        assert not parameter.requires_grad
    assert torch.equal(moco.key_encoder.body[1].running_mean, before["body.1.running_mean"])


def test_training_separates_two_degradations():
    """Dark and bright patches: after some steps a patch is more like its own kind than like the other."""
    torch.manual_seed(0)
    encoder = DegradationEncoder(4, hidden=4, features=8)
    moco = MomentumContrast(encoder, width=8, queue_size=8, momentum=0.9)
    optimiser = torch.optim.Adam(encoder.parameters(), 3e-3)
    levels = torch.tensor([0.0, 1.0])[:, None, None, None]
    losses = []
    for _ in range(60):
        queries, keys = (levels * torch.rand(2, 3, 8, 8) for _ in range(2))
        _, loss = moco(encoder, queries, keys)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    embeddings = [F.normalize(encoder(levels * torch.rand(2, 3, 8, 8))[1], dim=1) for _ in range(2)]
    same, other = ((a * b).sum(dim=1).mean() for a, b in (embeddings, (embeddings[0], embeddings[1].flip(0))))
    assert same > other


def test_messages(rejects):
    q, queue = torch.rand(3, 5), torch.rand(5, 7)
    with rejects(r"`key` must have shape \(b=3 d=5\), got \(2, 5\)"):
        momentum_contrast_loss(q, q[:2], queue)
    with rejects(r"`queue` must have shape \(d=5 k\), got \(7, 5\)"):
        momentum_contrast_loss(q, q, queue.T)
    with rejects("`temperature` must be positive, got 0"):
        momentum_contrast_loss(q, q, queue, temperature=0.0)
    with rejects("`query` must be a floating-point tensor, got torch.int64", TypeError):
        momentum_contrast_loss(q.long(), q, queue)
    encoder = DegradationEncoder(2, hidden=2, features=4)
    with rejects("`momentum` must lie between 0 and 1, got 1"):
        MomentumContrast(encoder, width=4, momentum=1.0)
    with rejects("`queue_size` must be at least 1, got 0"):
        MomentumContrast(encoder, width=4, queue_size=0)
    moco = MomentumContrast(encoder, width=4, queue_size=6)
    with rejects("`keys`: a batch of 4 does not divide the queue of 6"):
        moco(encoder, torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8))
