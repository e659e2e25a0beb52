"""Evaluation by the papers' protocol: datasets, tables, cost, figures."""

from cclnn.evaluation import figures
from cclnn.evaluation.benchmark import bicubic, evaluate
from cclnn.evaluation.complexity import Cost, cost
from cclnn.evaluation.datasets import Dataset, Pair, find_dataset
from cclnn.evaluation.differences import Difference, paired_difference
from cclnn.evaluation.memory import peak_memory, with_peak
from cclnn.evaluation.results import Evaluation

__all__ = [
    "Cost",
    "Dataset",
    "Difference",
    "Evaluation",
    "Pair",
    "bicubic",
    "cost",
    "evaluate",
    "figures",
    "find_dataset",
    "paired_difference",
    "peak_memory",
    "with_peak",
]
