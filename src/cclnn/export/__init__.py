"""Networks as files that run without cclnn: ONNX and torch.export (extra `export`)."""

from cclnn.export.exporting import FORMATS, export, largest_difference

__all__ = ["FORMATS", "export", "largest_difference"]
