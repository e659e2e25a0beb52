"""The library inside programs of others, one module each."""

from cclnn.integrations import spandrel

__all__ = ["spandrel"]
