"""What people import from here, and what importing it costs."""

import cclnn.attribution
import cclnn.evaluation


def test_names():
    assert set(cclnn.evaluation.__all__) == {
        *("Cost", "Dataset", "Difference", "Evaluation", "Pair", "bicubic", "cost", "evaluate", "find_dataset"),
        *("figures", "paired_difference", "peak_memory", "with_peak"),
    }
    assert set(cclnn.attribution.__all__) == {
        *("Attended", "Attribution", "ChannelWeights", "attended_pixels", "blur_path", "channel_weights"),
        *("diffusion_index", "gini", "local_attribution_map", "AttentionHealth", "LayerHealth", "attention_health"),
        *("replaced_attention", "PointAttribution", "point_attribution"),
    }
    for module in (cclnn.evaluation, cclnn.attribution):
        assert all(getattr(module, name) is not None for name in module.__all__)


def test_importing_loads_no_extra(after_torch):
    code = (
        "import sys, torch; before = set(sys.modules); import cclnn.evaluation.figures, cclnn.attribution; "
        "print({'PIL', 'click', 'tqdm', 'matplotlib'} & (set(sys.modules) - before))"
    )
    done = after_torch.run(code)
    assert done.stdout == "set()\n", done.stderr
