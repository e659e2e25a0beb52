"""The six tokens of src/cclnn/ops/sparse_attention/README.md: its code, run, gives its tables."""

import re
from pathlib import Path

import torch
from torch.testing import assert_close

from cclnn.ops import hash_codes, lsh_attention, make_plan

TEXT = (Path(__file__).parents[2] / "src" / "cclnn" / "ops" / "sparse_attention" / "README.md").read_text()
(CODE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def column(header, index):
    """Numbers of one column of the table that starts with `header`."""
    table = TEXT[TEXT.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [row.split("|")[index].strip() for row in table]


def test_the_tables_are_what_the_code_gives():
    names = {}
    exec(compile(CODE, "README.md", "exec"), names)
    assert names["codes"][0, 0].tolist() == [int(cell) for cell in column("| token | q |", 4)]
    assert names["codes"][0, 1].tolist() == [int(cell.split()[0]) for cell in column("| token | q |", 6)]
    slots, where = column("| | `slots`", 2), column("| | `slots`", 3)
    assert names["plan"].slots[0].tolist() == [[int(n) for n in cell.split()] for cell in slots]
    assert names["plan"].where[0].tolist() == [[int(n) for n in cell.split()] for cell in where]
    out = torch.tensor([float(cell) for cell in column("| token | round 0 |", 6)])
    assert_close(names["out"][0, :, 0], out, rtol=0, atol=5e-5)


def test_the_other_chunk_sizes_too():
    names = {}
    exec(compile(CODE, "README.md", "exec"), names)
    q, v, codes = names["q"], names["v"], hash_codes(names["q"], names["rotations"])
    two_chunks = [float(n) for n in re.search(r"out    ([\d. ]+)", TEXT).group(1).split()]
    assert_close(
        lsh_attention(q, v, make_plan(codes, chunk_size=4))[0, :, 0], torch.tensor(two_chunks), rtol=0, atol=5e-5
    )
    plain = [float(n) for n in re.search(r"whatever the codes: ([\d. ]+\d)", TEXT).group(1).split()]
    assert_close(lsh_attention(q, v, make_plan(codes, chunk_size=6))[0, :, 0], torch.tensor(plain), rtol=0, atol=5e-5)
