"""Foreign text steers no terminal, in words and as JSON, and JSON loses nothing by that."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.views.foreign import json_text, printable

HOSTILE = ["\x1b[2J", "\x9b2J", "\x7f", "a\u202eb", "\u2028", "\U000e0041", "\ud800", "\r\n\t\b", "\u200b"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_steers_is_replaced_and_in_json_escaped(text: str) -> None:
    told = json_text({"to": text})
    assert printable(told) == told
    assert json.loads(told) == {"to": text}
    assert "�" in printable(text)


@given(value=st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_says_what_was_put_in(value: object) -> None:
    told = json_text(value)
    assert json.loads(told) == value
    assert printable(told) == told


def test_what_steers_nothing_stays_readable() -> None:
    assert json_text({"to": "São Paulo ✓"}) == '{"to": "São Paulo ✓"}'
