"""The word that was meant."""

from __future__ import annotations

import pytest

from callctl.errors import nearest_word


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("survy", ["survey", "menu"], "survey"),
        ("After_Hours", ["after-hours"], "after-hours"),
        ("answerd_by", ["answered_by"], "answered_by"),
        ("xyz", ["survey"], None),
        ("survey", [], None),
    ],
)
def test_the_nearest_word(word: str, known: list[str], meant: str | None) -> None:
    assert nearest_word(word, known) == meant
