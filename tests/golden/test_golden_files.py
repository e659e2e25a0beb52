"""The golden files known to the tests are exactly those that exist, and every group of them is used."""

import re
from pathlib import Path

import pytest
from golden.reader import CASES, COMPOSED, HERE, LIMIT, SHARED, read

GROUPS = re.compile(
    r"nlsa_|pa\d|resblock|calayer|ccln0|cclnn_|cclloss|edsr_x|nlsn_x|upsampler|meanshift|psnr_|ssim01"
    r"|lam_|rcab|rcan_|a2n_|aab|diva_|divanet_|rnan_|enlca|vdsr_|srcnn"
    r"|csnln_|han_|dasr_|cbam|maconv|srfbn"
    r"|edsr_wrapper|nlsnrepo_chop|rnanrepo_chop"
)
KNOWN = {name for names in CASES.values() for name in names}


def stems(folder: Path) -> set[str]:
    return {path.name.removesuffix(".safetensors") for path in folder.glob("*.safetensors")}


def test_no_file_is_listed_twice():
    assert sum(map(len, CASES.values())) == len(KNOWN) == 147


def test_this_folder_holds_only_known_small_files():
    assert stems(HERE) | stems(COMPOSED) <= KNOWN
    assert not stems(HERE) & stems(COMPOSED)
    assert all(path.stat().st_size <= LIMIT for path in HERE.rglob("*.safetensors"))


def test_only_the_large_files_are_absent_from_this_folder():
    assert KNOWN - stems(HERE) - stems(COMPOSED) == {
        "a2n_x2",
        "a2n_x4",
        "divanet_x2",
        "divanet_x4",
        "rcan_x2.f64",
        "rcan_x3.f32",
        "rcan_x3.f64",
        "rnan_x2.f32",
        "rnan_x2.f64",
        "rnan_x4.f32",
        "rnan_x4.f64",
        "vdsr_tw01",
        "ccln01.f64",
        "csnln_x4.f64",
        "ccln02_grad.f32",
        "ccln02_grad.f64",
        "dasr_moco01",
        "divanet_resblock01",
        "edsr_wrapper_x2_even",
        "enlca02.f64",
        "nlsa_fwd05_b2_ck144.f32",
        "nlsa_fwd05_b2_ck144.f64",
        "nlsa_fwd06_48x48.f32",
        "nlsnrepo_chop_x2",
        "nlsnrepo_chop_x2_recursive",
        "pa02.f64",
        "rnanrepo_chop_x2",
    }


def test_every_shared_file_of_these_groups_is_known():
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent")
    assert {name for name in stems(SHARED) if GROUPS.match(name)} == KNOWN - stems(COMPOSED)


def test_copies_equal_the_shared_files():
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent")
    for path in HERE.glob("*.safetensors"):
        assert path.read_bytes() == (SHARED / path.name).read_bytes(), path.name


@pytest.mark.parametrize("group", CASES)
def test_every_group_is_used_by_a_test(group):
    sources = [path.read_text() for path in HERE.parent.rglob("test_*.py")]
    assert any(f'@cases("{group}")' in source or f'"{group}": (' in source for source in sources)


def test_an_absent_large_file_skips_with_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr("golden.reader.HERE", tmp_path)
    monkeypatch.setattr("golden.reader.COMPOSED", tmp_path)
    monkeypatch.setattr("golden.reader.SHARED", tmp_path / "none")
    with pytest.raises(pytest.skip.Exception, match=r"nlsa_fwd06_48x48\.f32 is over 200 KB and kept in .*none"):
        read("nlsa_fwd06_48x48.f32")
