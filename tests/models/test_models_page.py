"""docs/models.md is what the records say."""

import models_page


def test_the_page_is_up_to_date():
    """`python benchmarks/models_page.py` writes it."""
    assert models_page.PAGE.read_text(encoding="utf-8") == models_page.page() + "\n"
