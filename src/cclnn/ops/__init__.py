"""Functions of tensors, without parameters."""

from cclnn.ops.color import rgb_to_y
from cclnn.ops.dense import dense_attention, largest_scores
from cclnn.ops.resize import imresize
from cclnn.ops.sparse_attention import LSHPlan, hash_codes, lsh_attention, make_plan

__all__ = [
    "LSHPlan",
    "dense_attention",
    "hash_codes",
    "imresize",
    "largest_scores",
    "lsh_attention",
    "make_plan",
    "rgb_to_y",
]
