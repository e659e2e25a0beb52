"""Names and files to models, and back."""

from cclnn.hub.convert import convert_official
from cclnn.hub.pretrained import list_pretrained, load

__all__ = ["convert_official", "list_pretrained", "load"]
