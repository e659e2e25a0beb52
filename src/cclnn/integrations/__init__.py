"""The library inside programs of others, one module each."""

from cclnn.integrations import spandrel, storage

__all__ = ["spandrel", "storage"]
