"""Names, files and repositories to models, and back."""

from cclnn.hub.card import model_card
from cclnn.hub.convert import convert_official
from cclnn.hub.pretrained import list_pretrained, load, published_facts
from cclnn.hub.upload import publish

__all__ = ["convert_official", "list_pretrained", "load", "model_card", "publish", "published_facts"]
