"""Where models' files come from and how they are stored: sources, downloads, hashes, containers, cards. No networks."""

from cclnn.hub.card import model_card
from cclnn.hub.pickles import read_state_dict
from cclnn.hub.upload import upload_folder

__all__ = ["model_card", "read_state_dict", "upload_folder"]
