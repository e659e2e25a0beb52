"""Facts about the machine, read from files that a test can write."""

import pytest
import torch

from cclnn import __version__, _machine

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"), [("avx2 avx512_bf16", True), ("amx_bf16 avx2", True), ("avx2 avx512f", False)]
)
def test_fast_bf16_is_read_from_the_processor_flags(monkeypatch, tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(_machine, "CPU_INFO", tmp_path / "cpuinfo")
    assert _machine.has_fast_bf16(CPU) is expected
    monkeypatch.setattr(_machine, "CPU_INFO", tmp_path / "missing")
    assert not _machine.has_fast_bf16(CPU)
    assert not _machine.has_fast_bf16(torch.device("meta"))


def test_memory_at_hand_is_the_least_of_machine_and_control_group(monkeypatch, tmp_path):
    monkeypatch.setattr(_machine, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(_machine, "CONTROL_GROUP", tmp_path)
    assert _machine.memory_at_hand(CPU) == _machine.ASSUMED
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 7 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("4096\n")
    assert _machine.memory_at_hand(CPU) == 7 * 1024
    (tmp_path / "memory.max").write_text("10000\n")
    assert _machine.memory_at_hand(CPU) == 10000 - 4096
    (tmp_path / "memory.current").write_text("10001\n")
    assert _machine.memory_at_hand(CPU) == 0


@pytest.mark.skipif(not _machine.reports_peak_memory(CPU), reason="needs Linux's /proc to measure")
def test_peak_growth_is_what_a_call_takes_for_a_moment(after_torch):
    """In a process of its own: in this one malloc may keep freed memory, which a call takes without any growth."""
    size = 64 * 2**20
    code = (
        "import numpy as np, torch; from cclnn._machine import peak_growth; cpu = torch.device('cpu'); "
        f"print(peak_growth(lambda: np.ones({size}, np.uint8).sum(), cpu), peak_growth(lambda: None, cpu))"
    )
    done = after_torch.run(code)
    grown, nothing = map(int, done.stdout.split())
    assert 0.95 * size < grown < 1.5 * size  # some of what it takes was resident before
    assert nothing < size / 8


def test_facts_name_processor_threads_and_versions(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Some CPU @ 2 GHz\n")
    monkeypatch.setattr(_machine, "CPU_INFO", tmp_path / "cpuinfo")
    facts = _machine.facts(gpu=False)
    assert (facts["processor"], facts["gpu"]) == ("Some CPU @ 2 GHz", None)
    assert (facts["threads"], facts["torch"], facts["cclnn"]) == (
        torch.get_num_threads(),
        torch.__version__,
        __version__,
    )
