"""Stage 2 on a GPU: Triton kernels that gather through the plan, attend and scatter, one hash round per launch.

Differs from reference.py in the order of summation only, as chunked.py does (README.md has the derivation), and in what
it stores: no sorted copies, no scores, only float32 sums in pixel order. Peak memory is that of the sums, about
4 b n d bytes forward and 4 b n (d + 2e) backward beside outputs and gradients, whatever m and r are.

Sums are deterministic: rounds run one after the other, and in a round each row of a sum has one writer. Backward walks
twice over each round, once per block of queries for dq and once per block of keys for dk and dv: 45 % more products (at
e = d / 4) than one walk with atomics.
"""

import importlib.util
import os
from typing import Any, NamedTuple

import torch

from cclnn._autocast import without_autocast
from cclnn._typing import Float, Tensor
from cclnn.ops._operator import operator
from cclnn.ops.sparse_attention.plan import LSHPlan
from cclnn.ops.sparse_attention.reference import EPS

INSTALLED = importlib.util.find_spec("triton") is not None  # here, as torch.compile cannot ask
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SUMS = 5120  # float32 sums that a warp has registers for, 160 in each thread
REACH = 128  # rows that a block or a step has at most
WIDEST = 256  # channels of q or v: a block of their float32 sums must fit in registers


class Launch(NamedTuple):
    """How a kernel is launched: rows of a program (keys in the pass over keys, queries elsewhere), opposite rows per
    step, and Triton's schedule.

    Three stages: token indices one step ahead of the rows, rows one step ahead of the products.
    """

    rows: int
    step: int
    warps: int
    stages: int


# Best first; `_Call.launch` takes the first that fits. A fixed table, so that no first call is spent on tuning and all
# runs sum in the same order. Half precision: 64 rows are what one warpgroup multiplies at a time (wgmma) and at d = 256
# their sums fill half of its registers, so two programs share a multiprocessor, and one multiplies while the other does
# exponentials. The sums of dq are only e wide, so there 128 rows read each neighbour half as often; those of dk and dv
# are e + d wide, so there steps are short. Float32 without TF32 does not use tensor cores: small blocks.
HALF = {
    "attend": (Launch(64, 64, 4, 3), Launch(64, 32, 4, 3), Launch(32, 32, 4, 3), Launch(16, 16, 4, 1)),
    "queries": (
        Launch(128, 64, 8, 3),
        Launch(64, 64, 4, 3),
        Launch(64, 32, 4, 3),
        Launch(32, 32, 4, 3),
        Launch(16, 16, 4, 1),
    ),
    "keys": (Launch(64, 32, 4, 3), Launch(64, 32, 8, 3), Launch(32, 32, 4, 3), Launch(16, 16, 4, 1)),
}
SINGLE = {
    "attend": (Launch(32, 32, 4, 3), Launch(32, 16, 4, 3), Launch(16, 16, 4, 1)),
    "queries": (Launch(32, 32, 4, 3), Launch(32, 16, 4, 3), Launch(16, 16, 4, 1)),
    "keys": (Launch(32, 32, 4, 3), Launch(32, 16, 4, 3), Launch(16, 16, 4, 1)),
}


def why_not(q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], plan: LSHPlan) -> str | None:
    """Why `attend` cannot take these tensors, or None: the whole support table. Any n, chunk and rounds are fine."""
    if not INSTALLED:
        return 'it needs Triton: pip install "cclnn[triton]"'
    if not _interpreted():
        if q.device.type != "cuda":
            return f"it needs CUDA tensors, got {q.device.type}"
        if torch.version.hip is not None:
            return "it needs an NVIDIA GPU"
        if not torch.compiler.is_compiling() and torch.cuda.get_device_capability(q.device) < (8, 0):
            return "it needs a GPU of compute capability 8.0 (Ampere) or newer"
    dtype = torch.promote_types(q.dtype, v.dtype)
    if dtype not in DTYPES:
        return f"it computes in float32, bfloat16 or float16, got {dtype}"
    for name, x in (("query", q), ("value", v)):
        if x.shape[-1] > WIDEST:
            return f"it takes at most {WIDEST} channels, got {x.shape[-1]} in `{name}`"
    width = max(q.shape[-1], v.shape[-1])
    if q.shape[1] * width >= 2**31:
        return f"it takes images of less than 2**31 numbers, got {q.shape[1]} tokens of {width} channels"
    if plan.slots.device != q.device:
        return f"the plan must be on {q.device}, got {plan.slots.device}"
    return None


def attend(q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], plan: LSHPlan) -> Float[Tensor, "b n d"]:
    """Same result as reference.attend, where `why_not` is None and q and v have one dtype."""
    out: Tensor = attend_op(q, v, plan.slots, plan.chunk)[0]
    return out


def _attend(q: Tensor, v: Tensor, slots: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """(output, mass, what rounding took off the output), as one node that torch.compile and torch.export do not look
    into.
    """
    with without_autocast(q):
        return _forward(q.contiguous(), v.contiguous(), slots.contiguous(), chunk)


def _empty_like_output(_q: Tensor, v: Tensor, _slots: Tensor, _chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    mass = v.new_empty(v.shape[:2], dtype=torch.float32)
    return v.new_empty(v.shape), mass, v.new_empty(v.shape if _is_half(v) else 0)


attend_op = operator("cclnn::fused_attend", _attend, _empty_like_output)


def _attend_backward(
    grad: Tensor, q: Tensor, v: Tensor, slots: Tensor, chunk: int, out: Tensor, mass: Tensor, rest: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of q and v."""
    with without_autocast(q):
        return _backward(grad.contiguous(), q.contiguous(), v.contiguous(), slots.contiguous(), chunk, out, mass, rest)


def _empty_like_gradients(
    _grad: Tensor, q: Tensor, v: Tensor, _slots: Tensor, _chunk: int, _out: Tensor, _mass: Tensor, _rest: Tensor
) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), v.new_empty(v.shape)


backward_op = operator("cclnn::fused_attend_backward", _attend_backward, _empty_like_gradients)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, v, slots, ctx.chunk = inputs
    ctx.save_for_backward(q, v, slots, *output)


def _differentiate(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    q, v, slots, out, mass, rest = ctx.saved_tensors
    return *backward_op(grad, q, v, slots, ctx.chunk, out, mass, rest), None, None


def _refuse(_ctx: Any, *_grads: Tensor) -> None:
    raise NotImplementedError("lsh_attention has no second derivative with backend='fused'; use backend='reference'.")


torch.library.register_autograd("cclnn::fused_attend", _differentiate, setup_context=_remember)
torch.library.register_autograd("cclnn::fused_attend_backward", _refuse)


def _forward(
    q: Float[Tensor, "b n e"], v: Float[Tensor, "b n d"], slots: Tensor, chunk: int
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"], Tensor]:
    from cclnn.ops.sparse_attention import _kernels

    call = _Call(q, v, slots, chunk)
    unit, bound = call.keys()
    out, mass = torch.empty_like(v), torch.empty_like(bound)
    rest = torch.empty_like(v) if _is_half(v) else v.new_empty(0)
    total = out if v.dtype == torch.float32 or call.rounds == 1 else torch.empty_like(v, dtype=torch.float32)
    tensors = (q, unit, bound, v, call.lines, total, mass, out, rest)
    for turn in range(call.rounds):
        call.slots(_kernels.attend, "attend", tensors, turn, LAST=turn == call.rounds - 1, REST=_is_half(v))
    return out, mass, rest


def _backward(
    grad: Float[Tensor, "b n d"],
    q: Float[Tensor, "b n e"],
    v: Float[Tensor, "b n d"],
    slots: Tensor,
    chunk: int,
    out: Float[Tensor, "b n d"],
    mass: Float[Tensor, "b n"],
    rest: Tensor,
) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b n d"]]:
    from cclnn.ops.sparse_attention import _kernels

    call = _Call(q, v, slots, chunk)
    unit, bound = call.keys()
    shift, delta = torch.empty_like(mass), torch.empty_like(mass)
    sizes = {"D": call.d, "PADDED_D": call.padded_d, "REST": _is_half(v)}
    scale, scaled = (_slope_scale(grad, v), True) if v.dtype == torch.float16 else (mass, False)
    call.rows(_kernels.prepare, grad, out, rest, bound, mass, scale, shift, delta, **sizes, SCALED=scaled)
    known = (grad, q, unit, shift, v, call.lines, delta, scale)
    from_q, from_k, grad_v = (torch.empty_like(x, dtype=torch.float32) for x in (q, q, v))
    for turn in range(call.rounds):
        call.slots(_kernels.differentiate_queries, "queries", (*known, from_q), turn, SCALED=scaled)
        for copies in (False, True):
            sums = (*known, from_k, grad_v)
            call.slots(_kernels.differentiate_keys, "keys", sums, turn, copies=copies, SCALED=scaled)
    grad_q = torch.empty_like(q)
    sizes = {"E": call.e, "PADDED_E": call.padded_e}
    call.rows(_kernels.differentiate_norm, q, from_q, from_k, scale, grad_q, **sizes, EPS=EPS, SCALED=scaled)
    return grad_q, grad_v.to(v.dtype)


def _is_half(x: Tensor) -> bool:
    return x.dtype.itemsize == 2


def _slope_scale(grad: Tensor, v: Tensor) -> Float[Tensor, ""]:
    """The power of two that keeps slopes, p_ij (g_i . v_j - g_i . out_i) <= 2 |g| |v|, below 2**15: in float16's range.

    It also lifts small ones out of float16's subnormal numbers.
    """
    longest = [torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32).amax() for x in (grad, v)]
    reach = (longest[0] * longest[1]).clamp_min(2.0**-60)
    scale: Tensor = (14 - reach.log2().ceil()).exp2()
    return scale


class _Call:
    """Sizes, precision and the unrolled plan, shared by the launches of one call."""

    def __init__(self, q: Tensor, v: Tensor, slots: Tensor, chunk: int) -> None:
        self.q, self.chunk = q, chunk
        self.b, self.n, self.e = q.shape
        self.d = v.shape[-1]
        self.padded_e, self.padded_d = _padded(self.e), _padded(self.d)
        self.precision, self.score_precision = _precision(q.dtype)
        self.rounds, self.s = slots.shape[1:]
        # Positions -m to s + m, and as many more as a block or step may reach beyond: loops then need no mask to load.
        circle = torch.arange(-chunk, self.s + chunk + REACH, device=slots.device) % self.s
        self.lines = slots.to(torch.int32).index_select(-1, circle)

    def keys(self) -> tuple[Float[Tensor, "b n e"], Float[Tensor, "b n"]]:
        """Unit rows in q's dtype, and the bound of each token's scores.

        Made once rather than in each program: rows then go from memory to the tensor cores without passing registers.
        """
        from cclnn.ops.sparse_attention import _kernels

        unit, bound = torch.empty_like(self.q), self.q.new_empty(self.b, self.n, dtype=torch.float32)
        self.rows(_kernels.normalise, self.q, unit, bound, EPS=EPS, E=self.e, PADDED_E=self.padded_e)
        return unit, bound

    def rows(self, kernel: Any, *tensors: Tensor, **constants: float) -> None:
        """One pass over all rows, in pixel order."""
        count, block = self.b * self.n, 16
        with torch.cuda.device(self.q.get_device()):  # Triton launches on the current device
            kernel[(-(-count // block),)](*tensors, count, **constants, BLOCK=block, num_warps=4)

    def slots(
        self, kernel: Any, name: str, tensors: tuple[Tensor, ...], turn: int, *, copies: bool = False, **constants: bool
    ) -> None:
        """One pass over the slots of a hash round: the tokens' own, or the copies that fill the last chunk."""
        start, stop = (self.n, self.s) if copies else (0, self.n)
        if start == stop:
            return
        launch = self.launch(name)
        sizes = (self.n, self.chunk, self.rounds, turn, self.lines.shape[-1])
        ends = (start, stop, self.s - self.n) if name == "keys" else ()
        with torch.cuda.device(self.q.get_device()):
            kernel[(self.b * -(-(stop - start) // launch.rows),)](
                *tensors,
                *sizes,
                *ends,
                E=self.e,
                D=self.d,
                PADDED_E=self.padded_e,
                PADDED_D=self.padded_d,
                BLOCK=launch.rows,
                STEP=launch.step,
                FIRST=turn == 0 and not copies,
                PRECISION=self.precision,
                SCORE_PRECISION=self.score_precision,
                num_warps=launch.warps,
                num_stages=launch.stages,
                **constants,
            )

    def launch(self, name: str) -> Launch:
        """The first entry of the table that fits in registers and shared memory and is not much longer than a chunk."""
        size = self.q.element_size()
        e, d = self.padded_e, self.padded_d
        kept = e if name == "attend" else e + d  # width of the rows that a program keeps beside its sums
        sums = {"attend": d, "queries": e, "keys": e + d}[name]
        available = _shared_memory(self.q)
        launches = (SINGLE if self.q.dtype == torch.float32 else HALF)[name]
        for launch in launches:
            memory = (launch.rows * kept + launch.stages * launch.step * (e + d)) * size
            fits = launch.rows * sums <= launch.warps * SUMS and memory <= available
            if fits and launch.rows < max(32, 2 * self.chunk):
                return launch
        return launches[-1]


def _padded(width: int) -> int:
    """Tensor cores take powers of two from 16 on."""
    return max(16, 1 << (width - 1).bit_length())


def _precision(dtype: torch.dtype) -> tuple[str, str]:
    """Choose the input precision of products in general and of scores.

    With TF32, scores take three products: an error in a score is exponentiated, and one of 2**-11 |q_i| would break the
    bound that the shift relies on.
    """
    if dtype != torch.float32:
        name = "widen" if dtype == torch.bfloat16 and _interpreted() else "ieee"  # float32 sums either way
        return name, name
    matmul = torch.backends.cuda.matmul
    new = getattr(matmul, "fp32_precision", None)  # torch >= 2.9; there asking the old flag may raise
    if (new == "tf32") if new is not None else matmul.allow_tf32:
        return "tf32", "tf32x3"
    return "ieee", "ieee"


def _interpreted() -> bool:
    """Triton's interpreter, on CPU tensors, for tests; torch.compile does not need to look."""
    return not torch.compiler.is_compiling() and os.environ.get("TRITON_INTERPRET") == "1"


def _shared_memory(x: Tensor) -> int:
    """Bytes that one program may use."""
    if x.device.type != "cuda":
        return 227 * 1024  # Hopper, so that the interpreter runs what a Hopper GPU would
    properties = torch.cuda.get_device_properties(x.device)
    return getattr(properties, "shared_memory_per_block_optin", 99 * 1024)  # the least since Ampere
