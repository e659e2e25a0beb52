"""Functions of tensors, without parameters."""

from cclnn.ops.color import rgb_to_y
from cclnn.ops.lsh_attention import LSHPlan, hash_codes, lsh_attention, make_plan
from cclnn.ops.resize import imresize

__all__ = ["LSHPlan", "hash_codes", "imresize", "lsh_attention", "make_plan", "rgb_to_y"]
