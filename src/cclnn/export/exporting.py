"""Write a network as an ONNX file or as a program of torch.export, for any batch, height and width."""

import copy
import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from cclnn._checks import check_choice
from cclnn._files import write_atomically
from cclnn._names import EXPORT_FORMATS, ExportFormat
from cclnn._typing import Float, Tensor
from cclnn._version import __version__
from cclnn.layers.non_local_sparse_attention import NonLocalSparseAttention
from cclnn.models._base import SRModel
from cclnn.ops.portable import PORTABLE
from cclnn.pretrained.onnx_file import OnnxModel
from cclnn.upscaler.memory import CPU_LIMIT, auto_tile, measure

NEEDED = 'exporting to ONNX needs onnx, onnxscript and onnxruntime: pip install "cclnn[export]"'
# batch height width: small, odd, below and above a chunk, many times as large as the image that is traced
CHECKED = (
    *((1, 1, 1), (1, 1, 7), (2, 5, 3), (1, 12, 12), (3, 11, 13)),
    *((1, 17, 19), (2, 24, 31), (1, 48, 48), (1, 40, 96), (1, 130, 200)),
)
# the same for networks whose attention holds the scores of all pairs of pixels
CHECKED_DENSE = (
    *((1, 1, 1), (1, 1, 7), (2, 5, 3), (1, 12, 12), (3, 11, 13)),
    *((1, 17, 19), (2, 24, 31), (1, 8, 40), (1, 33, 22), (1, 45, 52)),
)
TOLERANCE, HALF_TOLERANCE = 1e-5, 2e-2
EXAMPLE = (2, 3, 19, 23)
OPSET = 20
SMALLEST = ValueRanges(2, int_oo)  # torch.export assumes dynamic sizes of 2 or more; no file checks it, and 1 works too


class _Portable(nn.Module):
    """The network in operators that every runtime has; float32 images in and out, whatever it computes in."""

    def __init__(self, model: SRModel, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval().to("cpu", dtype)
        self.dtype = dtype
        for layer in self.model.modules():
            if isinstance(layer, NonLocalSparseAttention):
                layer.backend = "portable"

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        sr: Tensor = self.model(image.to(self.dtype))
        return sr.float()


class _PortableForms(TorchFunctionMode):
    """Replaces our dense attentions by torch's own operators while a network is traced; `used` once there was one."""

    used = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        form = PORTABLE.get(func, func)
        self.used |= form is not func
        return form(*args, **(kwargs or {}))


def export(
    model: SRModel,
    path: str | os.PathLike[str],
    *,
    format: ExportFormat | None = None,  # noqa: A002  # the word that everybody uses
    half: bool = False,
    check: bool = False,
    facts: Mapping[str, str] | None = None,
) -> float | None:
    """Write `model` to `path`, for images (b 3 h w) of any batch, height and width: RGB in [0, 1], float32 in and out.

    The file is replaced as a whole. Its metadata are: name, scale, license, sha256 (of the weights in float32, see
    `weights_hash`), range, tile (pixels per side that suit a CPU), reach (pixels that a tile must overlap, or "global")
    and version.

    Args:
        path: of the file.
        format: "onnx", or "pt2" (a program of torch.export); by default what the ending of `path` says.
        half: store weights and compute in float16; the attention still computes in float32. Networks whose record
            lacks "fp16" (RNAN) do not work in it.
        check: run the file at ten sizes and compare with the model. Networks in which torch.export drew conclusions
            from the size of its example are compared in any case.
        facts: more metadata, such as `cclnn.pretrained.published_facts` gives: "name", "license".

    Returns:
        With `check`, the largest difference from the model, at most 1e-5 (2e-2 in half precision).

    Raises:
        ImportError: a package that ONNX needs is missing. ValueError: an unknown format, or a network that cannot be
            exported. RuntimeError: the file was compared and differs from the model; it is not written.
    """
    path = Path(path)
    if format is None:
        if path.suffix[1:] not in EXPORT_FORMATS:
            raise ValueError(f"`path`={str(path)!r} must end in .onnx or .pt2, or `format` be given.")
        format = "onnx" if path.suffix == ".onnx" else "pt2"  # noqa: A001
    check_choice("format", format, EXPORT_FORMATS)
    if format == "onnx":
        _need_onnx()
    if half and "fp16" not in model.architecture.low_precision:
        raise ValueError(f"`half`=True: {model.architecture.title} does not work in float16, as its record says.")
    program, dense = _program(_Portable(model, torch.float16 if half else torch.float32))
    if format == "onnx" and (ours := _own_operators(program)):
        raise ValueError(
            f"{type(model).__name__} cannot be written as ONNX: it uses {', '.join(ours)}, which ONNX has no form of. "
            "format='pt2' keeps them."
        )
    guarded = _drop_guards(program)
    written = {**_facts(model, program), **(facts or {})}
    found: list[float] = []

    def write(temporary: Path) -> None:
        (_write_onnx if format == "onnx" else _write_pt2)(program, temporary, written)
        if check or guarded:
            found.append(largest_difference(model, _runner(format, temporary), CHECKED_DENSE if dense else CHECKED))
            limit = HALF_TOLERANCE if half else TOLERANCE
            if not found[0] <= limit:
                raise RuntimeError(
                    f"the exported file differs from the model by {found[0]:.1e}, more than {limit:.0e}."
                )

    write_atomically(path, write)
    return found[0] if check else None


@torch.no_grad()
def largest_difference(
    model: nn.Module, run: Callable[[Tensor], Tensor], sizes: Iterable[tuple[int, int, int]] = CHECKED
) -> float:
    """The largest difference of `run` from the model over images of `sizes` (b h w); NaN if `run` gives NaN."""
    exact = copy.deepcopy(model).eval().to("cpu", torch.float32)
    images = torch.Generator().manual_seed(0)
    worst = torch.zeros(())
    for b, h, w in sizes:
        x = torch.rand(b, 3, h, w, generator=images)
        worst = torch.maximum(worst, (run(x) - exact(x)).abs().max())
    return worst.item()


def weights_hash(model: nn.Module) -> str:
    """sha256 of all tensors of the state dict, in the order of their names: each name, then its float32 bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _program(portable: _Portable) -> tuple[torch.export.ExportedProgram, bool]:
    """The network for any batch, height and width in torch's own operators; whether it has dense attention."""
    sizes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    # strict=False: Python itself runs while it is traced, and the mode with it
    with _quiet(), torch.no_grad(), _PortableForms() as forms:
        program = torch.export.export(portable, (torch.rand(EXAMPLE),), dynamic_shapes={"image": sizes}, strict=False)
    return program, forms.used


def _drop_guards(program: torch.export.ExportedProgram) -> bool:
    """Remove what torch.export concluded about all sizes from the example's; whether there was anything.

    For example that widths are odd, from strides that an even width makes different. That need not matter to the
    operators, and ONNX files do not state it. But it may: the caller must compare the file with the model.
    """
    narrowed = [symbol for symbol, sizes in program.range_constraints.items() if sizes.lower > SMALLEST.lower]
    guarded = bool(getattr(program, "_guards_code", ()) or narrowed)
    program._guards_code = []  # torch has no public way, and before 2.9 none of this
    program.range_constraints.update(dict.fromkeys(narrowed, SMALLEST))
    return guarded


def _facts(model: SRModel, program: torch.export.ExportedProgram) -> dict[str, str]:
    reach = model.architecture.reach(model)
    module: Any = program.module()  # it is called as a network is
    growth = measure(module, torch.float32, torch.device("cpu"), limit=CPU_LIMIT)
    return {
        "name": model.architecture.title,
        "scale": str(model.scale),
        "license": "unknown",
        "sha256": weights_hash(model),
        "range": "[0, 1]",
        "tile": str(auto_tile(growth, CPU_LIMIT, least=1)),
        "reach": "global" if reach is None else str(reach),
        "version": __version__,
    }


def _own_operators(program: torch.export.ExportedProgram) -> list[str]:
    """The operators of this library in a program, which only it can run."""
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    return sorted(name.removesuffix(".default") for name in names if name.startswith("cclnn"))


def _write_onnx(program: torch.export.ExportedProgram, path: Path, facts: Mapping[str, str]) -> None:
    with _quiet():
        exported = torch.onnx.export(
            program, input_names=["image"], output_names=["sr"], opset_version=OPSET, dynamo=True, verbose=False
        )
    assert exported is not None  # it is None only where torch writes the file
    exported.model.metadata_props.update(facts)
    exported.save(path)


def _write_pt2(program: torch.export.ExportedProgram, path: Path, facts: Mapping[str, str]) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files=dict(facts))


def _runner(format: ExportFormat, path: Path) -> Callable[[Tensor], Tensor]:  # noqa: A002
    if format == "onnx":
        return OnnxModel(path)
    with path.open("rb") as file:
        run: Callable[[Tensor], Tensor] = torch.export.load(file).module()
    return run


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{NEEDED} ({error})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's advice on its own insides, which the caller can do nothing about."""
    logger: Any = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
