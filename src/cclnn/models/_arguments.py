"""Constructor arguments that several networks share, with the limits on what a file may ask for."""

from typing import Annotated, TypeAlias

from cclnn._arguments import Later, Range
from cclnn.layers.non_local_sparse_attention import Similarity

Scale: TypeAlias = Annotated[int, Range(1, 16)]
Width: TypeAlias = Annotated[int, Range(1, 1024)]
Depth: TypeAlias = Annotated[int, Range(1, 256)]
Hashes: TypeAlias = Annotated[int, Range(1, 16)]
ChunkSize: TypeAlias = Annotated[int, Range(1, 65_536)]
Factor: TypeAlias = Annotated[float, Range(-100, 100)]
White: TypeAlias = Annotated[float, Range(1e-3, 65_535)]
Seed: TypeAlias = Annotated[int, Range(0, 2**32 - 1)]
# Options of NonLocalSparseAttention.
Compared: TypeAlias = Annotated[Similarity, Later()]
Switch: TypeAlias = Annotated[bool, Later()]
Stride: TypeAlias = Annotated[int, Range(1, 8), Later()]
