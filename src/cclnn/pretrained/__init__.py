"""Models with weights: published ones, those in files and repositories, and released checkpoints of other code."""

from cclnn.pretrained.foreign import ForeignModel, load_foreign
from cclnn.pretrained.loading import list_pretrained, load, published_facts
from cclnn.pretrained.onnx_file import OnnxModel
from cclnn.pretrained.publishing import publish
from cclnn.pretrained.released import convert_official, detect, to_official
from cclnn.pretrained.state_dicts import from_state_dict, recognize
from cclnn.pretrained.strength import interpolate

__all__ = [
    "ForeignModel",
    "OnnxModel",
    "convert_official",
    "detect",
    "from_state_dict",
    "interpolate",
    "list_pretrained",
    "load",
    "load_foreign",
    "publish",
    "published_facts",
    "recognize",
    "to_official",
]
