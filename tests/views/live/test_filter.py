"""The filter that is typed: how it is read, and which legs it lets through."""

from __future__ import annotations

from datetime import timedelta

import pytest
from events import moment, sid
from hypothesis import given
from hypothesis import strategies as st
from legs import board_of, callback, in_conference

from callctl.calls.leg import Leg
from callctl.views.live.filter import EVERY_LEG, TextFilter, masked_filter_text, text_of

MINUTE = timedelta(minutes=1)
NOW = moment(200)
CALLS = [
    callback(sid(10), "in-progress", second=0, sequence=2, to="+12025550101", CallerName="Ann Lee"),
    callback(sid(11), "ringing", second=100, sequence=1, parent=sid(10), to="sip:Agent@example.com"),
    callback(sid(12), "ringing", second=80, sequence=1, to="+12025550102"),
    callback(sid(13), "completed", second=0, sequence=3, to="+12025550101"),
    callback(sid(14), "queued", second=190, sequence=0, to="client:live"),
    in_conference(sid(12), "Support-7", second=90, label="boss", Muted="true"),
]


def legs() -> list[Leg]:
    return list(board_of(CALLS).snapshot().legs.values())


def matching(text: str) -> list[int]:
    """Return the numbers of the calls that a filter lets through."""
    chosen = TextFilter.read(text)
    return sorted(
        int(leg.call_sid[2:])
        for leg in legs()
        if chosen.matches(leg, text_of(leg)) and chosen.matches_time(leg.status_since, now=NOW)
    )


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", EVERY_LEG),
        ("   ", EVERY_LEG),
        ("CA01 Ringing", TextFilter(("ca01", "ringing"))),
        ("LIVE", TextFilter(is_live=True)),
        ("live liver", TextFilter(("liver",), is_live=True)),
        (">2m", TextFilter(longer_than=2 * MINUTE)),
        ("<30s >500ms", TextFilter(longer_than=timedelta(seconds=0.5), shorter_than=timedelta(seconds=30))),
        (">1m >2m", TextFilter(longer_than=2 * MINUTE)),
        (">2m >1m", TextFilter(longer_than=2 * MINUTE)),
        ("<1m <2m", TextFilter(shorter_than=MINUTE)),
        (">0s", TextFilter(longer_than=timedelta())),
        (">1h30m x", TextFilter(("x",), longer_than=timedelta(minutes=90))),
        ("> x", TextFilter(("x",), unread=(">",))),
        (">2", TextFilter(unread=(">2",))),
        ("<x >1m", TextFilter(longer_than=MINUTE, unread=("<x",))),
        (">99999999d", TextFilter(unread=(">99999999d",))),
    ],
)
def test_how_it_is_read(text: str, chosen: TextFilter) -> None:
    assert TextFilter.read(text) == chosen


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("", [10, 11, 12, 13, 14]),
        ("0010", [10, 11]),  # its own SID, or its parent's
        (sid(12), [12]),
        (sid(12).lower(), [12]),
        ("5550101", [10, 13]),
        ("+15005550006", [10, 11, 12, 13, 14]),
        ("ann", [10]),
        ("AGENT@EXAMPLE", [11]),
        ("ringing", [11, 12]),
        ("rin", [11, 12]),
        ("in-progress", [10]),
        ("live", [10, 11, 12, 14]),
        ("live 5550101", [10]),
        ("ringing 5550102", [12]),
        ("ringing 5550101", []),
        (">2m", [10, 12]),  # since 200 and 120 s; what has ended has had its end for 200
        ("<2m", [11, 14]),
        (">1m30s <3m", [11, 12]),
        (">1m ringing", [11, 12]),
        (">2", [10, 11, 12, 13, 14]),
        (">2 ringing", [11, 12]),
        ("support", [12]),
        ("boss muted", [12]),
        ("on hold", []),
        ("nobody", []),
    ],
)
def test_which_legs_it_lets_through(text: str, calls: list[int]) -> None:
    assert matching(text) == calls


@pytest.mark.parametrize(("text", "is_empty"), [("", True), (" ", True), (">", True), (">2m", False), ("live", False)])
def test_what_lets_every_leg_through_is_empty(text: str, is_empty: bool) -> None:
    assert TextFilter.read(text).is_empty is is_empty


WORDS = st.sampled_from(["live", "ringing", "in-", "5550101", "CA00", ">90s", "<2m", ">2", "agent", "x", "0010"])


@given(st.lists(WORDS, max_size=4), WORDS)
def test_one_more_word_lets_no_more_legs_through(words: list[str], more: str) -> None:
    assert set(matching(" ".join([*words, more]))) <= set(matching(" ".join(words)))


@given(st.lists(WORDS, max_size=4).flatmap(lambda words: st.tuples(st.just(words), st.permutations(words))))
def test_the_order_of_words_does_not_matter(orders: tuple[list[str], list[str]]) -> None:
    one, other = (" ".join(words) for words in orders)
    assert matching(one) == matching(other)


@given(st.integers(0, 10**9))
def test_each_live_leg_is_on_one_side_of_a_time(milliseconds: int) -> None:
    longer, shorter = matching(f">{milliseconds}ms"), matching(f"<{milliseconds}ms")
    assert sorted([*longer, *shorter]) == matching("live")


@given(st.text(max_size=30))
def test_whatever_is_typed_can_be_read(text: str) -> None:
    assert set(matching(text)) <= {10, 11, 12, 13, 14}
    assert TextFilter.read(text).is_empty is (TextFilter.read(text).words == () and matching(text) == matching(""))


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("+12025550142", "+1202***42"),
        ("2025550142 live >2m", "202***42 live >2m"),
        ("agent7", "a***7"),
        ("sip:ann@example.com Ringing", "sip:a***@example.com Ringing"),
        ("in-prog outb CA00000000 >2", "in-prog outb CA00000000 >2"),
        ("", ""),
    ],
)
def test_of_what_was_typed_numbers_and_names_are_masked(typed: str, shown: str) -> None:
    assert masked_filter_text(typed) == shown
