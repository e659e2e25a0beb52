"""The model card: what its header says to the Hub, what its text says to people."""

import pytest
from huggingface_hub import ModelCard

import cclnn
from cclnn.hub import model_card
from cclnn.pretrained import published_facts

FACTS = {
    "name": "tiny-x2",
    "source": "hf-hub:me/tiny",
    "license": "cc-by-4.0",
    "datasets": ["eugenesiow/Div2k"],
    "tags": ["anime"],
    "training": {"steps": 100, "data": "photographs: my own"},
    "measured": {"Set5": {"images": 5, "psnr": 37.5, "ssim": 0.9586}, "B100": {"images": 100, "psnr": 31.9}},
}


@pytest.fixture
def model():
    return cclnn.EDSR(2, channels=8, n_resblocks=1)


def test_header_is_what_the_client_reads(model):
    card = ModelCard(model_card(model, FACTS))
    header = card.data.to_dict()
    assert header["library_name"] == "cclnn"
    assert header["pipeline_tag"] == "image-to-image"
    assert header["license"] == "cc-by-4.0"
    assert header["datasets"] == ["eugenesiow/Div2k"]
    assert header["tags"] == ["super-resolution", "edsr", "anime"]
    assert header["metrics"] == ["psnr", "ssim"]
    results = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert results == {("Set5 x2", "psnr"): 37.5, ("Set5 x2", "ssim"): 0.9586, ("B100 x2", "psnr"): 31.9}
    assert {r.task_type for r in card.data.eval_results} == {"image-to-image"}
    assert card.data.model_name == "tiny-x2"


def test_text_says_what_it_is_how_to_use_it_and_what_it_reaches(model):
    text = ModelCard(model_card(model, FACTS)).text
    size = sum(tensor.numel() for tensor in model.state_dict().values())
    assert f"{size:,} parameters" in text
    assert 'cclnn.load("hf-hub:me/tiny")' in text
    assert "- data: photographs: my own" in text
    assert "| Set5 | 5 | 37.5 | 0.9586 |\n| B100 | 100 | 31.9 |  |" in text
    assert "- `channels`: 8" in text


def test_without_facts_nothing_is_made_up(model):
    card = ModelCard(model_card(model, {}))
    assert card.data.license == "unknown"
    assert 'cclnn.load("hf-hub:ORG/REPO")' in card.text
    assert card.data.eval_results is None
    assert {"datasets", "metrics", "model-index"}.isdisjoint(card.data.to_dict())
    assert "Training" not in card.text
    assert "Measured" not in card.text


def test_unknown_facts_are_errors(model):
    with pytest.raises(ValueError, match=r"`card` must have keys out of name, source, .*, got 'licence', 'psnr'"):
        model_card(model, {"licence": "mit", "psnr": 40})


def test_facts_of_published_models_come_from_the_manifest(tmp_path):
    facts = published_facts("cclnn-s-x2")
    cclnn.load("cclnn-s-x2").save_pretrained(tmp_path, card=facts)
    card = ModelCard.load(tmp_path / "README.md")
    results = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert results["Set5 x2", "psnr"] == facts["measured"]["Set5"]["psnr"]
    assert card.data.license == "apache-2.0"
    assert 'cclnn.load("cclnn-s-x2")' in card.text
    assert str(facts["training"]["recipe"]) in card.text
    with pytest.raises(ValueError, match=r"`name` must be one of .*'cclnn-s-x2'"):
        published_facts("cclnn-s-x22")
