"""The page about the keys."""

from __future__ import annotations

from callctl.views.live.keys_page import CHANGING_KEYS, keys_page


def keys_of(lines: list[str]) -> list[str]:
    """Return the keys that a page names."""
    return [line[:26].rstrip() for line in lines[1 : lines.index("")]]


def test_a_table_to_read_only_has_no_keys_that_change_calls() -> None:
    every, reading = keys_of(keys_page(())), keys_of(keys_page((), may_act=False))
    assert [key for key in every if key not in reading] == list(CHANGING_KEYS)
    assert [key for key in every if key not in CHANGING_KEYS] == reading
    assert {"Enter", "q", "Ctrl-C"} <= set(reading)


def test_the_guide_stands_last() -> None:
    assert keys_page(["paste this"])[-2:] == ["", "paste this"]
