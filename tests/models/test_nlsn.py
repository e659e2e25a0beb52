"""NLSN: where its attentions stand, its seeds."""

import pytest
import torch
from torch.testing import assert_close

from cclnn.layers import NonLocalSparseAttention
from cclnn.models import NLSN


@pytest.mark.parametrize(("n_resblocks", "places"), [(32, [0, 9, 18, 27, 36]), (16, [0, 9, 18]), (9, [0, 9]), (7, [0])])
def test_attentions_stand_before_the_first_and_after_every_eighth_residual_block(n_resblocks, places):
    with torch.device("meta"):
        body = NLSN(n_resblocks=n_resblocks, channels=16).body
    found = [i for i, block in enumerate(body) if isinstance(block, NonLocalSparseAttention)]
    assert found == places
    assert [body[i].seed for i in found] == list(range(len(places)))
    assert len(body) == n_resblocks + len(places) + 1


def test_backends_give_the_same_image_and_are_not_part_of_the_config():
    model = NLSN(3, channels=16, n_resblocks=8, backend="chunked").eval()
    reference = NLSN(3, channels=16, n_resblocks=8, backend="reference").eval()
    reference.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 23, 29)
    assert_close(model(x), reference(x), rtol=0, atol=1e-5)
    assert model.config == reference.config
    assert "backend" not in model.config


def test_messages(rejects):
    with rejects("`reduction`=4 must divide `channels`=18"):
        NLSN(channels=18, n_resblocks=1)
    with rejects("`n_hashes` must be at least 1, got 0"):
        NLSN(channels=16, n_resblocks=1, n_hashes=0)
