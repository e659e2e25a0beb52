"""Functions of tensors, without parameters."""

from cclnn.ops._flops import register_flop_formulas
from cclnn.ops.color import rgb_to_y
from cclnn.ops.degradation import Degradation, blur, degrade, draw_degradation, gaussian_kernels
from cclnn.ops.dense import dense_attention, largest_scores
from cclnn.ops.patches import patch_attention
from cclnn.ops.resize import imresize
from cclnn.ops.sparse_attention import LSHPlan, hash_codes, lsh_attention, make_plan

__all__ = [
    "Degradation",
    "LSHPlan",
    "blur",
    "degrade",
    "dense_attention",
    "draw_degradation",
    "gaussian_kernels",
    "hash_codes",
    "imresize",
    "largest_scores",
    "lsh_attention",
    "make_plan",
    "patch_attention",
    "rgb_to_y",
]

register_flop_formulas()
