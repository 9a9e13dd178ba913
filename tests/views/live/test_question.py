"""What the foot asks, word for word, and what it says instead."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from events import age_at, moment, sid
from legs import board_of, callback

from callctl.views.live.intents import HangUp, Leave, Redirect, Target
from callctl.views.live.question import question
from callctl.views.live.state import ChoosingUrl, Confirming, Dismissing, Filtering, KeysPage, Mode, ViewState

EVENTS = [
    callback(sid(1), "in-progress", second=0, sequence=2, to="+12025550101"),
    callback(sid(2), "ringing", second=60, sequence=1, parent=sid(1), to="sip:agent@example.com"),
    callback(sid(3), "ringing", second=30, sequence=1, to="+12025550103", Direction="inbound", From="+12025550199"),
    callback(sid(4), "in-progress", second=10, sequence=2, to="a\x1b[2Jb"),
    callback(sid(5), "queued", second=10, sequence=0, to="", From=""),
    callback(sid(6), "canceled", second=10, sequence=2),
]
PARENT, CHILD, INBOUND = Target(sid(1), "in-progress"), Target(sid(2), "ringing"), Target(sid(3), "ringing")
EFFECT = "its child leg to sip:agent@example.com drops"
GONE, OVER, ANSWERED = Target(sid(9), "ringing"), Target(sid(6), "ringing"), Target(sid(4), "ringing")


def asked(
    mode: Mode | None, *, effects: str = "", urls: Sequence[str] = (), message: str = "", filter: str = ""
) -> list[str]:
    return list(
        question(
            ViewState(mode=mode, message=message, filter=filter),
            board_of(EVENTS).snapshot(),
            age=age_at(moment(3725)),
            urls=urls,
            effects=effects,
        )
    )


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (PARENT, "+12025550101 ● in-progress 1:02:05"),
        (CHILD, "sip:agent@example.com ◔ ringing 1:01:05"),
        (INBOUND, "+12025550199 ◔ ringing 1:01:35"),
        (Target(sid(4), "in-progress"), "a\ufffd[2Jb ● in-progress 1:01:55"),
        (Target(sid(5), "queued"), f"{sid(5)} ◌ queued 1:01:55"),
        (GONE, sid(9)),
    ],
)
def test_a_hang_up_names_phone_status_and_age(target: Target, named: str) -> None:
    family = "   f: family" if target in (PARENT, CHILD) else ""
    line = f"hang up {named}?   y: yes{family}   other: no"
    assert asked(Confirming(HangUp((target,)))) == [line]
    assert len(line) <= 78 or target not in (PARENT, INBOUND)  # one line at 80 columns
    assert asked(Confirming(HangUp((target,))), effects=EFFECT) == [line, EFFECT]


def test_a_family_names_each_of_its_live_legs() -> None:
    assert asked(Confirming(HangUp((PARENT, CHILD), is_family=True))) == [
        "hang up the whole family, 2 live legs: +12025550101 ● in-progress 1:02:05, "
        "sip:agent@example.com ◔ ringing 1:01:05?   y: yes   any other key: no"
    ]


def test_a_redirect_names_where_to_and_no_password() -> None:
    url = "https://ann:secret@example.com/a"
    assert asked(Confirming(Redirect((PARENT,), url)), effects=EFFECT) == [
        "redirect +12025550101 ● in-progress 1:02:05 to https://ann:***@example.com/a?   y: yes   other: no",
        EFFECT,
    ]


def test_marked_legs_are_confirmed_by_their_number() -> None:
    targets = (PARENT, CHILD, INBOUND)
    assert asked(Confirming(HangUp(targets), are_marked=True, typed="1")) == [
        "type 3 and Enter to hang up 3 marked legs (2 only if they still ring): 1▏"
    ]
    assert asked(Confirming(HangUp((PARENT, PARENT)), are_marked=True)) == [
        "type 2 and Enter to hang up 2 marked legs: ▏"
    ]
    assert asked(Confirming(Redirect((PARENT, PARENT), "music"), are_marked=True)) == [
        "type 2 and Enter to redirect 2 marked legs to music: ▏"
    ]


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ((PARENT, GONE), "2 marked legs, 1 has ended"),
        ((PARENT, CHILD, GONE, OVER), "4 marked legs, 2 have ended (1 only if they still ring)"),
        ((PARENT, ANSWERED), "2 marked legs, 1 answered meanwhile is left alone"),
        (
            (CHILD, ANSWERED, ANSWERED, OVER),
            "4 marked legs, 1 has ended, 2 answered meanwhile are left alone (1 only if they still ring)",
        ),
    ],
)
def test_of_marked_legs_the_question_says_how_many_are_not_changed(targets: tuple[Target, ...], said: str) -> None:
    count = len(targets)
    assert asked(Confirming(HangUp(targets), are_marked=True)) == [f"type {count} and Enter to hang up {said}: ▏"]


def test_one_marked_leg_is_named_by_its_sid_too() -> None:
    named = f"the marked leg {sid(2)[:10]} sip:agent@example.com ◔ ringing 1:01:05"
    assert asked(Confirming(HangUp((CHILD,)), are_marked=True), effects=EFFECT) == [
        f"type 1 and Enter to hang up {named}: ▏",
        EFFECT,
    ]
    assert asked(Confirming(Redirect((CHILD,), "music"), are_marked=True, typed="1")) == [
        f"type 1 and Enter to redirect {named} to music: 1▏"
    ]
    assert asked(ChoosingUrl((CHILD,), are_marked=True)) == [f"redirect {named} to   t: type a URL   Esc: no"]


def test_urls_are_chosen_by_letter() -> None:
    assert asked(ChoosingUrl((PARENT,)), urls=["music", "queue\x1b"]) == [
        "redirect +12025550101 ● in-progress 1:02:05 to   t: type a URL   a: music   b: queue\ufffd   Esc: no"
    ]
    assert asked(ChoosingUrl((PARENT, CHILD), are_marked=True), urls=["music"]) == [
        "redirect 2 marked legs to   t: type a URL   a: music   Esc: no"
    ]


def test_names_without_a_letter_are_typed_and_those_that_begin_so_are_shown() -> None:
    urls = [f"u{number:02}" for number in range(26)]
    (line,) = asked(ChoosingUrl((PARENT,)), urls=urls)
    assert "to   t: type a URL, or a name: 2 more have no letter   a: u00   b: u01   " in line
    assert line.endswith("   z: u23   Esc: no")
    assert asked(ChoosingUrl((PARENT,), typed="U2"), urls=urls)[1] == (
        "Enter goes on, Esc leaves it   names: u20  u21  u22  u23  u24  u25"
    )
    assert asked(ChoosingUrl((PARENT,), typed=""), urls=urls)[1].endswith(
        "names: u00  u01  u02  u03  u04  u05  u06  u07  …"
    )
    assert asked(ChoosingUrl((PARENT,), typed="u26"), urls=urls)[1] == "Enter goes on, Esc leaves it"


def test_a_url_that_is_typed_shows_without_its_password() -> None:
    assert asked(ChoosingUrl((PARENT,), typed="https://ann:secret@example.com/\x9b")) == [
        "redirect +12025550101 ● in-progress 1:02:05 to: https://ann:***@example.com/\ufffd▏",
        "Enter goes on, Esc leaves it",
    ]


@pytest.mark.parametrize(("count", "named"), [(1, "1 failure"), (5, "5 failures")])
def test_dismissing_says_how_many(count: int, named: str) -> None:
    failures = frozenset((sid(number), moment(0)) for number in range(count))
    assert asked(Dismissing(failures)) == [f"dismiss {named}?   y: yes   any other key: no"]


@pytest.mark.parametrize(
    ("text", "unread"), [(">2mm", ">2mm"), (">90", ">90"), ("live > 2m", ">"), ("<", "<"), (">2m", ""), ("live", "")]
)
@pytest.mark.parametrize("mode", [Filtering(), None])
def test_a_time_in_the_filter_that_cannot_be_read_is_said(text: str, unread: str, mode: Mode | None) -> None:
    said = f"{unread} is no time, such as >2m or <30s: it hides no leg"
    assert asked(mode, filter=text) == ([said] if unread else [])
    assert asked(mode, filter=text, message="copied") == ["copied"]


def test_why_a_text_is_no_url_stands_below_it() -> None:
    assert asked(ChoosingUrl((PARENT,), typed="x"), message="no URL")[1:] == ["no URL"]


def test_leaving_says_how_many_calls_report_here() -> None:
    assert asked(Confirming(Leave())) == ["stop listening? 5 live calls report here   y: yes   any other key: no"]


@pytest.mark.parametrize("mode", [None, Filtering(), KeysPage()])
def test_else_the_message_stands_there_if_there_is_one(mode: Mode | None) -> None:
    assert asked(mode, message="copied") == ["copied"]
    assert asked(mode) == []
