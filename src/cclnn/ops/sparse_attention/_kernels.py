# mypy: ignore-errors
# (Kernels are written in Triton's language, which has no stubs.)
"""Triton kernels of the sparse attention. fused.py launches them, in the order that makes their sums deterministic.

One launch covers one hash round. A program owns BLOCK consecutive slots of one line (image, round), reads their rows
through the plan, walks over the window of slots they meet, STEP at a time, and adds the result to float32 sums in pixel
order. Within a round every token has one slot below n, so no two programs write the same row: no atomics.

Positions are slots of the unrolled circle, -m <= x < s + m and some more, so that one chunk or two repeat as they do in
reference.py; `lines` holds the token at each. The token at x meets [near, near + 3m), near = (x // m - 1) m. Blocks
need not end where chunks do: a block that touches several chunks walks over their joint window and masks. (With blocks
inside chunks, chunks of 144 would leave a quarter of three blocks of 64 empty; like this an eighth of the products is
masked.) Meeting is symmetric, so the window of a key is also the window of the queries that meet it.

What the loops do beside products decides their speed, so rows are loaded without masks: every position holds a token,
and what is loaded in vain is masked once, in the weights. (A value that is not finite can thus reach the tokens of
neighbouring chunks.) Starts of images are int64; within an image int32 is enough, see fused.why_not.
"""

from typing import no_type_check

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)  # exp(x) = exp2(x log2(e)); the factor fuses with the shift
SIZES = ["n", "m", "rounds", "turn", "span", "start", "stop", "copies", "count"]  # compiled once for all values

# `no_type_check` under each `triton.jit` keeps the annotated test run (jaxtyping's import hook) from wrapping kernels.


@triton.jit
@no_type_check
def load_rows(x, rows, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Rows of x, (rows) WIDTH -> rows PADDED, zero beyond WIDTH. Contiguous along the row: 16 bytes per thread."""
    columns = tl.arange(0, PADDED)[None, :]
    place = x + (rows[:, None] * WIDTH + columns)  # the inner sum in int32: two instructions per 16 bytes
    return tl.load(place) if WIDTH == PADDED else tl.load(place, mask=columns < WIDTH, other=0.0)


@triton.jit
@no_type_check
def store_rows(x, rows, valid, block, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """x[rows] = block, in x's dtype."""
    columns = tl.arange(0, PADDED)[None, :]
    place = x + (rows[:, None] * WIDTH + columns)
    tl.store(place, block.to(x.dtype.element_ty), mask=valid[:, None] & (columns < WIDTH))


@triton.jit
@no_type_check
def sum_so_far(x, rows, FIRST: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """What earlier rounds left in x[rows]: where sums start, as adding it at the end would take twice the registers."""
    return tl.zeros([rows.shape[0], PADDED], tl.float32) if FIRST else load_rows(x, rows, WIDTH, PADDED)


@triton.jit
@no_type_check
def add_dot(a, b, total, PRECISION: tl.constexpr):
    """total + a @ b in float32. Triton's interpreter cannot multiply bfloat16: "widen" is for it alone."""
    if PRECISION == "widen":
        total = tl.dot(a.to(tl.float32), b.to(tl.float32), total, input_precision="ieee")
    else:
        total = tl.dot(a, b, total, input_precision=PRECISION)
    return total


@triton.jit
@no_type_check
def dot(a, b, PRECISION: tl.constexpr):
    """a @ b in float32."""
    return add_dot(a, b, tl.zeros([a.shape[0], b.shape[1]], tl.float32), PRECISION)


@triton.jit
@no_type_check
def scaled(x, scale, SCALED: tl.constexpr):
    """x * scale: one instruction with the subtraction that follows."""
    return x * tl.load(scale) if SCALED else x


@triton.jit
@no_type_check
def program_block(m, start, stop, BLOCK: tl.constexpr):
    """Image of this program, its positions in [start, stop), and the window they meet.

    Neighbouring programs share most of their windows: those rows are still in the L2 cache.
    """
    blocks = tl.cdiv(stop - start, BLOCK)
    image = tl.program_id(0) // blocks
    first = start + tl.program_id(0) % blocks * BLOCK
    last = tl.minimum(first + BLOCK, stop) - 1
    return image.to(tl.int64), first + tl.arange(0, BLOCK), (first // m - 1) * m, (last // m + 2) * m


@triton.jit
@no_type_check
def weigh(scores, offset, near, others, m):
    """(BLOCK STEP) exp2(scores log2(e) - offset), but 0 unless near <= others < near + 3m (one unsigned comparison)."""
    inside = (others[None, :] - near[:, None]).to(tl.uint32, bitcast=True) < (3 * m).to(tl.uint32)
    return tl.where(inside, tl.exp2(scores * LOG2E - offset), 0.0)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def normalise(q, unit, bound, count, EPS: tl.constexpr, E: tl.constexpr, PADDED_E: tl.constexpr, BLOCK: tl.constexpr):
    """k = q / max(|q|, EPS) in q's dtype; bound = q . k of these rounded values, times log2(e). count = b n."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = rows < count
    rows = tl.minimum(rows, count - 1)
    query = load_rows(q, rows, E, PADDED_E).to(tl.float32)  # BLOCK e
    norm = tl.maximum(tl.sqrt(tl.sum(query * query, axis=1)), EPS)
    key = (query / norm[:, None]).to(unit.dtype.element_ty)
    store_rows(unit, rows, live, key, E, PADDED_E)
    tl.store(bound + rows, tl.sum(query * key.to(tl.float32), axis=1) * LOG2E, mask=live)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def prepare(
    grad,
    out,
    rest,
    bound,
    mass,
    scale,
    shift,
    delta,
    count,
    D: tl.constexpr,
    PADDED_D: tl.constexpr,
    REST: tl.constexpr,
    SCALED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """For backward: shift = bound + log2(mass), so that p = exp2(score log2(e) - shift); delta = grad . out, scaled."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = rows < count
    rows = tl.minimum(rows, count - 1)
    left = load_rows(grad, rows, D, PADDED_D).to(tl.float32)  # BLOCK d
    right = load_rows(out, rows, D, PADDED_D).to(tl.float32)  # BLOCK d
    if REST:
        right += load_rows(rest, rows, D, PADDED_D).to(tl.float32)
    mean = tl.sum(left * right, axis=1)
    if SCALED:
        mean *= tl.load(scale)
    tl.store(delta + rows, mean, mask=live)
    tl.store(shift + rows, tl.load(bound + rows) + tl.log2(tl.load(mass + rows)), mask=live)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def attend(
    q,
    unit,
    bound,
    v,
    lines,
    total,
    mass,
    out,
    rest,
    n,
    m,
    rounds,
    turn,
    span,
    E: tl.constexpr,
    D: tl.constexpr,
    PADDED_E: tl.constexpr,
    PADDED_D: tl.constexpr,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    REST: tl.constexpr,
    PRECISION: tl.constexpr,
    SCORE_PRECISION: tl.constexpr,
):
    """total_i += sum_j exp(s_ij - m_i) v_j,  mass_i += the same without v_j; the last round divides into out, and what
    rounding takes off it into rest.
    """
    image, i, begin, end = program_block(m, 0, n, BLOCK)
    line = lines + (image * rounds + turn) * span + m  # from here positions count
    q += image * n * E
    unit += image * n * E
    v += image * n * D
    total += image * n * D
    out += image * n * D
    rest += image * n * D
    bound += image * n
    mass += image * n

    live = i < n
    near = (i // m - 1) * m  # BLOCK
    tokens = tl.load(line + i)
    query = load_rows(q, tokens, E, PADDED_E)  # BLOCK e
    offset = tl.load(bound + tokens)[:, None]  # BLOCK 1
    weighed = sum_so_far(total, tokens, FIRST, D, PADDED_D)  # BLOCK d
    sums = tl.zeros([BLOCK], tl.float32) if FIRST else tl.load(mass + tokens)
    for x in range(begin, end, STEP):
        j = x + tl.arange(0, STEP)
        key_tokens = tl.load((line + x) + tl.arange(0, STEP))
        key = load_rows(unit, key_tokens, E, PADDED_E)  # STEP e
        value = load_rows(v, key_tokens, D, PADDED_D)  # STEP d
        scores = dot(query, tl.trans(key), SCORE_PRECISION)  # BLOCK STEP
        weights = weigh(scores, offset, near, j, m)
        sums += tl.sum(weights, axis=1)
        weighed = add_dot(weights.to(value.dtype), value, weighed, PRECISION)
    tl.debug_barrier()  # threads may hold the same sums: all have read them before one of them writes
    tl.store(mass + tokens, sums, mask=live)
    if LAST:
        result = weighed / tl.where(live | (sums > 1), sums, 1.0)[:, None]  # no overflow in rows that are not stored
        store_rows(out, tokens, live, result, D, PADDED_D)
        if REST:
            store_rows(rest, tokens, live, result - result.to(out.dtype.element_ty).to(tl.float32), D, PADDED_D)
    else:
        store_rows(total, tokens, live, weighed, D, PADDED_D)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def differentiate_queries(
    grad,
    q,
    unit,
    shift,
    v,
    lines,
    delta,
    scale,
    grad_q,
    n,
    m,
    rounds,
    turn,
    span,
    E: tl.constexpr,
    D: tl.constexpr,
    PADDED_E: tl.constexpr,
    PADDED_D: tl.constexpr,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    FIRST: tl.constexpr,
    SCALED: tl.constexpr,
    PRECISION: tl.constexpr,
    SCORE_PRECISION: tl.constexpr,
):
    """grad_q_i += sum_j ds_ij k_j,  ds_ij = p_ij (g_i . v_j - delta_i),  p_ij = exp(s_ij - m_i) / mass_i."""
    image, i, begin, end = program_block(m, 0, n, BLOCK)
    line = lines + (image * rounds + turn) * span + m
    q += image * n * E
    unit += image * n * E
    grad_q += image * n * E
    grad += image * n * D
    v += image * n * D
    shift += image * n
    delta += image * n

    near = (i // m - 1) * m  # BLOCK
    tokens = tl.load(line + i)
    query = load_rows(q, tokens, E, PADDED_E)  # BLOCK e
    cotangent = load_rows(grad, tokens, D, PADDED_D)  # BLOCK d
    offset = tl.load(shift + tokens)[:, None]  # BLOCK 1
    mean = tl.load(delta + tokens)[:, None]  # BLOCK 1
    total = sum_so_far(grad_q, tokens, FIRST, E, PADDED_E)  # BLOCK e
    for x in range(begin, end, STEP):
        j = x + tl.arange(0, STEP)
        key_tokens = tl.load((line + x) + tl.arange(0, STEP))
        key = load_rows(unit, key_tokens, E, PADDED_E)  # STEP e
        value = load_rows(v, key_tokens, D, PADDED_D)  # STEP d
        scores = dot(query, tl.trans(key), SCORE_PRECISION)  # BLOCK STEP
        weights = weigh(scores, offset, near, j, m)
        slope = weights * (scaled(dot(cotangent, tl.trans(value), PRECISION), scale, SCALED) - mean)
        total = add_dot(slope.to(key.dtype), key, total, PRECISION)
    tl.debug_barrier()  # as in attend
    store_rows(grad_q, tokens, i < n, total, E, PADDED_E)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def differentiate_keys(
    grad,
    q,
    unit,
    shift,
    v,
    lines,
    delta,
    scale,
    grad_k,
    grad_v,
    n,
    m,
    rounds,
    turn,
    span,
    start,
    stop,
    copies,
    E: tl.constexpr,
    D: tl.constexpr,
    PADDED_E: tl.constexpr,
    PADDED_D: tl.constexpr,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    FIRST: tl.constexpr,
    SCALED: tl.constexpr,
    PRECISION: tl.constexpr,
    SCORE_PRECISION: tl.constexpr,
):
    """grad_k_j += sum_i ds_ij q_i,  grad_v_j += sum_i p_ij g_i, for the keys in slots [start, stop).

    The copies in slots [n, n + copies) are keys like others, in a launch of their own as their tokens have a slot below
    n too. But their outputs are discarded, so they are no queries.
    """
    image, j, begin, end = program_block(m, start, stop, BLOCK)
    line = lines + (image * rounds + turn) * span + m
    q += image * n * E
    unit += image * n * E
    grad_k += image * n * E
    grad += image * n * D
    v += image * n * D
    grad_v += image * n * D
    shift += image * n
    delta += image * n

    live = j < stop
    near = (j // m - 1) * m  # BLOCK
    tokens = tl.load(line + j)
    key = load_rows(unit, tokens, E, PADDED_E)  # BLOCK e
    value = load_rows(v, tokens, D, PADDED_D)  # BLOCK d
    total_k = sum_so_far(grad_k, tokens, FIRST, E, PADDED_E)  # BLOCK e
    total_v = sum_so_far(grad_v, tokens, FIRST, D, PADDED_D)  # BLOCK d
    for x in range(begin, end, STEP):
        i = x + tl.arange(0, STEP)
        is_query = (i < -copies) | ((i >= 0) & (i < n)) | (i >= n + copies)  # STEP
        query_tokens = tl.load((line + x) + tl.arange(0, STEP))
        query = load_rows(q, query_tokens, E, PADDED_E)  # STEP e
        cotangent = load_rows(grad, query_tokens, D, PADDED_D)  # STEP d
        offset = tl.where(is_query, tl.load(shift + query_tokens), float("inf"))[None, :]  # 1 STEP
        mean = tl.load(delta + query_tokens)[None, :]  # 1 STEP
        scores = dot(key, tl.trans(query), SCORE_PRECISION)  # BLOCK STEP, transposed
        weights = weigh(scores, offset, near, i, m)
        total_v = add_dot(weights.to(cotangent.dtype), cotangent, total_v, PRECISION)
        slope = weights * (scaled(dot(value, tl.trans(cotangent), PRECISION), scale, SCALED) - mean)
        total_k = add_dot(slope.to(query.dtype), query, total_k, PRECISION)
    tl.debug_barrier()  # as in attend
    store_rows(grad_k, tokens, live, total_k, E, PADDED_E)
    store_rows(grad_v, tokens, live, total_v, D, PADDED_D)


@triton.jit(do_not_specialize=SIZES)
@no_type_check
def differentiate_norm(
    q,
    from_q,
    from_k,
    scale,
    grad_q,
    count,
    EPS: tl.constexpr,
    E: tl.constexpr,
    PADDED_E: tl.constexpr,
    SCALED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad_q = from_q + (from_k - u (u . from_k)) / |q|, u = q / |q|; where |q| <= EPS it is from_q + from_k / EPS."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = rows < count
    rows = tl.minimum(rows, count - 1)
    query = load_rows(q, rows, E, PADDED_E).to(tl.float32)  # BLOCK e
    direct = load_rows(from_q, rows, E, PADDED_E)  # BLOCK e
    through = load_rows(from_k, rows, E, PADDED_E)  # BLOCK e
    norm = tl.sqrt(tl.sum(query * query, axis=1))
    clamped = tl.maximum(norm, EPS)
    direction = query / clamped[:, None]
    along = tl.where(norm > EPS, tl.sum(direction * through, axis=1), 0.0)
    total = direct + (through - direction * along[:, None]) / clamped[:, None]
    if SCALED:
        total /= tl.load(scale)
    store_rows(grad_q, rows, live, total, E, PADDED_E)
