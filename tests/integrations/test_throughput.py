"""The number of machines that a measurement of integrations/ray gives."""

from ray_throughput import table


def test_machines_for_a_million_photographs_in_a_day():
    """0.5 megapixels a second: 24 s for 12 of them, so 24 million seconds, 277.8 days of one machine."""
    text = table({1: 0.5, 2: 0.9}, 1.0, "cclnn-s-x2", "a processor")
    assert "| 1 | 0.500 | 24.0 | 278 |" in text
    assert "| 2 | 0.900 | 13.3 | 155 |" in text
    assert text.endswith("Two workers do 1.80 times the work of one.\n")
