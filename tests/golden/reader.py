"""Golden files: the list of those known, and how to read one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

HERE = Path(__file__).parent
COMPOSED = HERE / "composed"  # written by the programs that lie there
SHARED = HERE.parents[2] / "shared" / "golden"
LIMIT = 200 * 1024  # larger files stay in SHARED


def _both(*names: str) -> list[str]:
    return [f"{name}.{dtype}" for name in names for dtype in ("f32", "f64")]


CASES: dict[str, list[str]] = {
    "nlsa_hash": ["nlsa_hash01", "nlsa_hash02", "nlsa_hash03", "nlsa_hash04_ties"],
    "nlsa_codes": _both("nlsa_codes01_skew", "nlsa_codes02_zero", "nlsa_codes03_reverse"),
    "nlsa_fwd": [
        *_both(
            "nlsa_fwd01_onechunk",
            "nlsa_fwd02_overone",
            "nlsa_fwd03_b2_ck36",
            "nlsa_fwd04_exact",
            "nlsa_fwd05_b2_ck144",
            "nlsa_fwd07_grad",
            "nlsa_fwd08_cap128",
            "nlsa_fwd09_zero",
            "nlsa_fwd10_tinynorm",
            "nlsa_fwd11_bigscore",
            "nlsa_fwd12_red2_nh3",
        ),
        "nlsa_fwd06_48x48.f32",
    ],
    "nlsa_unstable": ["nlsa_unstable01.f32"],
    "pa": _both("pa01", "pa02", "pa03_big"),
    "resblock": _both("resblock01", "resblock02"),
    "calayer": _both("calayer01", "calayer02"),
    "rcab": _both("rcab01"),
    "a2n_branch": _both("a2n_attbranch01"),
    "aab": _both("aab01"),
    "diva": ["diva_attention01"],
    "diva_block": ["divanet_resblock01"],
    "rnan_mask": _both("rnan_mask01"),
    "rnan_nonlocal": _both("rnan_nonlocal01"),
    "rcan": _both("rcan_x2", "rcan_x3"),
    "rnan": _both("rnan_x2", "rnan_x4"),
    "a2n": ["a2n_x2", "a2n_x4"],
    "divanet": ["divanet_x2", "divanet_x4"],
    "vdsr_rgb": ["vdsr_edsrrepo01"],
    "vdsr_y": ["vdsr_tw01"],
    "srcnn": ["srcnn915_01"],
    "enlca": _both("enlca01", "enlca02", "enlca03"),
    "upsampler": ["upsampler_x2", "upsampler_x3"],
    "meanshift": ["meanshift_r255"],
    "ccln": [*_both("ccln01", "ccln02_grad"), "ccln03_narrow_grad.f64"],
    "edsr": _both("edsr_x2_grad", "edsr_x2_r255", "edsr_x3_r1", "edsr_x4_r255"),
    "nlsn": _both("nlsn_x2", "nlsn_x2_grad", "nlsn_x3", "nlsn_x4_r255"),
    "cclnn": _both("cclnn_x2", "cclnn_x4"),
    "cclloss": ["cclloss01", "cclloss02", "cclloss03_small", "cclloss04_extreme"],
    "psnr": ["psnr_x2_r255", "psnr_x4_r1"],
    "ssim": ["ssim01"],
    "wrapper": ["edsr_wrapper_x2_even", "nlsnrepo_chop_x2", "nlsnrepo_chop_x2_recursive", "rnanrepo_chop_x2"],
    "lam_gini": ["lam_gini01", "lam_gini02_sparse"],
    "lam_path": ["lam_blurpath01"],
    "lam_edsr": ["lam_edsr_x4"],
    "csnln_csa": _both("csnln_csa01"),
    "csnln": _both("csnln_x2", "csnln_x4"),
    "csnln_nla": _both("csnln_nla01"),
    "han_lam": _both("han_lam01"),
    "han_csam": ["han_csam01"],
    "han": _both("han_x2"),
    "dasr": _both("dasr_x2"),
    "dasr_daconv": _both("dasr_daconv01"),
    "dasr_moco": ["dasr_moco01"],
    "dasr_degrade": ["dasr_degrade01"],
    "cbam": _both("cbam01"),
    "maconv": ["maconv01"],
    "srfbn": ["srfbn_x3"],
}


def cases(group: str) -> Any:
    """A parametrize mark: `name` runs over the files of one group."""
    return pytest.mark.parametrize("name", CASES[group])


@dataclass(frozen=True)
class Golden:
    """The tensors and parameters of one file."""

    name: str
    tensors: dict[str, torch.Tensor]
    params: dict[str, Any]

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.tensors[key]

    def __contains__(self, key: str) -> bool:
        return key in self.tensors

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors whose name starts with `prefix`, without it."""
        return {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}

    def rotations(self, i: int = 0) -> torch.Tensor:
        """Rotations of the i-th attention in the layout of cclnn: e r half."""
        return self[f"rot.{i}"][0].float()

    def order(self, key: str = "inter.sort_indices", *, rounds: int, tokens: int) -> torch.Tensor:
        """Sorted tokens, b r n: the file holds positions in rows of rounds * tokens."""
        return (self[key] % tokens).unflatten(-1, (rounds, tokens))


def read(name: str) -> Golden:
    """One golden file: from this folder, or a large one from `SHARED`; the test is skipped where that is absent."""
    file_name = f"{name}.safetensors"
    path = next((path for path in (HERE / file_name, COMPOSED / file_name) if path.is_file()), None)
    if path is None:
        if not SHARED.is_dir():
            pytest.skip(f"{name} is over {LIMIT // 1024} KB and kept in {SHARED}, which is absent")
        path = SHARED / file_name
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
        return Golden(name, tensors, json.loads(file.metadata()["params"]))


def assert_golden(actual: torch.Tensor, expected: torch.Tensor, *, float32: float, scale: float | None = None) -> None:
    """Equal within 1e-12 (float64) or `float32` times the scale: the largest magnitude expected, unless given."""
    assert actual.dtype == expected.dtype
    relative = 1e-12 if expected.dtype == torch.float64 else float32
    scale = expected.abs().max().item() if scale is None else scale
    assert_close(actual, expected, rtol=0, atol=relative * scale)


def assert_golden_gradients(case: Golden, x: torch.Tensor, named: dict[str, torch.Tensor], *, float32: float) -> None:
    """Gradients of sum(output * cotangent), already run backward: of `x` and of the tensors by official name."""
    expected = case.under("grad.state.")
    assert expected.keys() == named.keys()
    assert x.grad is not None
    assert_golden(x.grad, case["grad.x"], float32=float32)
    for key, tensor in named.items():
        assert tensor.grad is not None, key
        assert_golden(tensor.grad, expected[key], float32=float32)


def official_name(key: str, names: dict[str, str]) -> str:
    """Our `key` with its beginning, a key of `names`, replaced by the official one; the longest that fits."""
    ours = max((name for name in names if key.startswith(f"{name}.") or key == name), key=len)
    return names[ours] + key.removeprefix(ours)


def load_official(
    case: Golden, layer: torch.nn.Module, names: dict[str, str], *, without: tuple[str, ...] = ()
) -> None:
    """Give `layer` the weights of a file: every one of them but `without`. Linear layers may be 1x1 convolutions."""
    own = layer.state_dict()
    state = case.under("state.")
    assert {official_name(key, names) for key in own} == state.keys() - set(without)
    layer.to(case["input.x"].dtype if "input.x" in case else next(iter(state.values())).dtype)
    layer.load_state_dict({key: state[official_name(key, names)].reshape(x.shape) for key, x in own.items()})


def assert_golden_layer(
    case: Golden, layer: torch.nn.Module, names: dict[str, str], *, more: tuple[str, ...] = (), float32: float = 1e-5
) -> None:
    """Output for `input.x` and the inputs `more`, and the gradients of sum(output * cotangent)."""
    inputs = [case[f"input.{name}"].requires_grad_() for name in ("x", *more)]
    y = layer(*inputs)
    assert_golden(y.reshape(case["output.y"].shape), case["output.y"], float32=float32)
    (y * case["cotangent"].reshape(y.shape)).sum().backward()
    for name, x in zip(more, inputs[1:], strict=True):
        assert x.grad is not None
        assert_golden(x.grad, case[f"grad.{name}"], float32=10 * float32)
    named = {}
    for key, parameter in layer.named_parameters():
        assert parameter.grad is not None, key
        official = official_name(key, names)
        named[official] = torch.empty(case[f"grad.state.{official}"].shape, dtype=parameter.dtype)
        named[official].grad = parameter.grad.reshape(named[official].shape)
    assert_golden_gradients(case, inputs[0], named, float32=10 * float32)
