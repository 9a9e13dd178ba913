"""A form is read as the standard library reads it, only quicker."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.watch.listener.server import BodyRefusedError, _pairs

PIECES = st.sampled_from(["&", "=", "%", "+", "%2B", "%41", "%ff", "%C3%A9", "%00", ";", "a", "é", " ", "\0", "\ufffd"])


@given(st.lists(PIECES, max_size=60).map("".join))
def test_a_form_is_read_as_by_the_standard_library(text: str) -> None:
    assert _pairs(text) == tuple(parse_qsl(text, keep_blank_values=True))


@pytest.mark.parametrize("value", ["%2B" * 21, "%2B" * 22, "a+" * 400, "%e9" * 3000])
def test_long_values_are_unescaped_too(value: str) -> None:
    assert _pairs(f"To={value}") == tuple(parse_qsl(f"To={value}"))


def test_a_form_of_more_fields_than_anybody_sends_is_refused() -> None:
    assert len(_pairs("&".join(["a=1"] * 2000))) == 2000
    with pytest.raises(BodyRefusedError) as caught:
        _pairs("&".join(["a=1"] * 2001))
    assert caught.value.status == 400
