"""The CCLN block written out from its equations, one token at a time: the oracle of its gradient.

It shares no code with the package: plain convolutions, and loops where the package has plans and operators. As a
program it writes `ccln03_narrow_grad.f64`, the block at 8 channels, small enough for the repository.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

HERE = Path(__file__).parent
NAME = "ccln03_narrow_grad.f64"
PARAMS = {"C": 8, "H": 9, "N": 2, "W": 11, "chunk_size": 20, "n_hashes": 3, "reduction": 4, "res_scale": 0.1}
SEED = 9
MARGIN = 2e-4  # between the best and the second score of a hash, as a share of the largest embedding


def pixel_attention(x, state):
    return x * F.conv2d(x, state["pa.conv.weight"], state["pa.conv.bias"]).sigmoid()


def channel_logits(x, state):
    """Weights of the channel attention before the sigmoid, b c 1 1."""
    pooled = x.mean(dim=(2, 3), keepdim=True)
    hidden = F.conv2d(pooled, state["cca.conv_du.0.weight"], state["cca.conv_du.0.bias"]).relu()
    return F.conv2d(hidden, state["cca.conv_du.2.weight"], state["cca.conv_du.2.bias"])


def residual_block(x, state, res_scale):
    hidden = F.conv2d(x, state["res.body.0.weight"], state["res.body.0.bias"], padding=1).relu()
    return x + res_scale * F.conv2d(hidden, state["res.body.2.weight"], state["res.body.2.bias"], padding=1)


def codes_of(embedding, rotations):
    """Hash codes, rounds x tokens, and the smallest relative margin of a code; embedding is tokens x width."""
    projected = torch.einsum("ne,erh->rnh", embedding.detach(), rotations.to(embedding.dtype))
    scores = torch.cat([projected, -projected], dim=-1)
    best = scores.topk(2, dim=-1).values
    return scores.argmax(-1), ((best[..., 0] - best[..., 1]).min() / embedding.abs().max()).item()


def attend(embedding, values, codes, chunk):
    """One image and one hash round: the output of every token and the log-sum-exp of its scores."""
    n = len(codes)
    order = torch.argsort(codes, stable=True).tolist()
    pad = -n % chunk
    slots = order + order[n - pad :]
    chunks = [slots[start : start + chunk] for start in range(0, len(slots), chunk)]
    keys = F.normalize(embedding, dim=-1, eps=5e-5)
    out, mass = [None] * n, [None] * n
    for k, own in enumerate(chunks):
        others = own + chunks[k - 1] + chunks[(k + 1) % len(chunks)]
        for slot, token in enumerate(own, start=k * chunk):
            if slot < n:  # a copy's own output is dropped
                scores = keys[others] @ embedding[token]
                mass[token] = scores.logsumexp(0)
                out[token] = (scores - mass[token]).exp() @ values[others]
    return torch.stack(out), torch.stack(mass), order


def sparse_attention(x, state, rotations, *, chunk, res_scale):
    """NLSA with its own residual, the sorted tokens of every image and round, and the smallest hash margin."""
    embedding = F.conv2d(x, state["nlsa.conv_match.0.weight"], state["nlsa.conv_match.0.bias"], padding=1)
    values = F.conv2d(x, state["nlsa.conv_assembly.0.weight"], state["nlsa.conv_assembly.0.bias"])
    images, orders, margins = [], [], []
    for image_embedding, image_values in zip(embedding.flatten(2).mT, values.flatten(2).mT, strict=True):
        codes, margin = codes_of(image_embedding, rotations)
        rounds = [attend(image_embedding, image_values, row, chunk) for row in codes]
        share = torch.stack([mass for _, mass, _ in rounds]).softmax(0)  # rounds x tokens
        images.append((share[..., None] * torch.stack([out for out, _, _ in rounds])).sum(0).mT)
        orders.append([token for _, _, order in rounds for token in order])
        margins.append(margin)
    return x + res_scale * torch.stack(images).view_as(x), torch.tensor(orders), min(margins)


def block(x, state, rotations, *, chunk, res_scale):
    """Every value of the block by its golden name. Y = NLSA(PA(X)) + Res(CCA(X))."""
    logits = channel_logits(x, state)
    attended = pixel_attention(x, state)
    weighted = x * logits.sigmoid()
    nonlocal_, order, margin = sparse_attention(attended, state, rotations, chunk=chunk, res_scale=res_scale)
    local = residual_block(weighted, state, res_scale)
    return {
        "inter.pa": attended,
        "inter.nlsa": nonlocal_,
        "inter.cca": weighted,
        "inter.local": local,
        "inter.w_ca_logit": logits.flatten(1),
        "inter.w_ca": logits.flatten(1).sigmoid(),
        "inter.sort_indices": order,
        "output.y": nonlocal_ + local,
    }, margin


def with_gradients(x, state, rotations, cotangent, *, chunk, res_scale):
    """`block` and the gradients of sum(y * cotangent)."""
    x = x.clone().requires_grad_()
    state = {key: tensor.clone().requires_grad_() for key, tensor in state.items()}
    values, margin = block(x, state, rotations, chunk=chunk, res_scale=res_scale)
    (values["output.y"] * cotangent).sum().backward()
    gradients = {"grad.x": x.grad, **{f"grad.state.{key}": tensor.grad for key, tensor in state.items()}}
    return {key: tensor.detach() for key, tensor in (values | gradients).items()}, margin


def case():
    """Inputs of the narrow case in float64: the block's input and weights, its rotations, a cotangent."""
    g = torch.Generator().manual_seed(SEED)
    c, reduced = PARAMS["C"], PARAMS["C"] // PARAMS["reduction"]
    shapes = {
        "pa.conv": (c, c, 1, 1),
        "nlsa.conv_match.0": (c // 4, c, 3, 3),
        "nlsa.conv_assembly.0": (c, c, 1, 1),
        "cca.conv_du.0": (reduced, c, 1, 1),
        "cca.conv_du.2": (c, reduced, 1, 1),
        "res.body.0": (c, c, 3, 3),
        "res.body.2": (c, c, 3, 3),
    }
    size = (PARAMS["N"], c, PARAMS["H"], PARAMS["W"])

    def draw(*shape, scale=1.0):
        return scale * torch.randn(*shape, generator=g, dtype=torch.float64)

    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = draw(*shape, scale=1.5 * (shape[1] * shape[2] * shape[3]) ** -0.5)
        state[f"{name}.bias"] = draw(shape[0], scale=0.1)
    buckets = PARAMS["H"] * PARAMS["W"] // PARAMS["chunk_size"]
    rotations = draw(c // 4, PARAMS["n_hashes"], (buckets + buckets % 2) // 2).float().double()  # hashing is float32
    return draw(*size), state, rotations, draw(*size)


def main() -> None:
    x, state, rotations, cotangent = case()
    how = {"chunk": PARAMS["chunk_size"], "res_scale": PARAMS["res_scale"]}
    values, margin = with_gradients(x, state, rotations, cotangent, **how)
    if margin < MARGIN:
        raise SystemExit(f"a hash decides by {margin:.1e}, less than {MARGIN:.0e}: choose another seed")
    tensors = {"input.x": x, "rot.0": rotations[None], "cotangent": cotangent, **values}
    tensors |= {f"state.{key}": tensor for key, tensor in state.items()}
    tokens = PARAMS["H"] * PARAMS["W"]
    rounds = torch.arange(PARAMS["n_hashes"]).repeat_interleave(tokens) * tokens
    tensors["inter.sort_indices"] = tensors["inter.sort_indices"] + rounds
    params = {**PARAMS, "seed": SEED, "rel_min_hash_margin": margin}
    what = {"case": NAME, "what": "CCLN block by Eq. 2 with gradients: formula, golden/composed/ccln.py"}
    stored = {key: tensor.contiguous() for key, tensor in tensors.items()}
    save_file(stored, HERE / f"{NAME}.safetensors", {**what, "params": json.dumps(params)})


if __name__ == "__main__":
    main()
