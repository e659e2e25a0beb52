"""Networks as files that run without cclnn: ONNX and torch.export (extra `export`)."""

from cclnn._names import EXPORT_FORMATS as FORMATS
from cclnn.export.exporting import export, largest_difference

__all__ = ["FORMATS", "export", "largest_difference"]
