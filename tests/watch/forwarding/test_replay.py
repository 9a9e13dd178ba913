"""Stored callbacks that are sent once more: the request, its signature, and the pace."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from events import event, event_of, form, sid
from hypothesis import given
from hypothesis import strategies as st
from listeners import TOKEN
from multidict import MultiDict
from twilio.request_validator import RequestValidator
from watches import Application, running_watch, settings_in

from callctl.calls.event import CallEvent
from callctl.watch.forwarding.replay import Replay, Replayed, Sending, _Pace, replay
from callctl.watch.options import WatchOptions


@dataclass
class Time:
    """A clock that goes on when somebody sleeps."""

    seconds: float = 100.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.seconds += seconds


async def sent_once_more(
    events: list[CallEvent], url: str, *, speed: float | None = None, signed_url: str | None = None
) -> list[Replayed]:
    sending = Sending(TOKEN, speed, signed_url)
    return [one async for one in replay([Replay(one, url) for one in events], sending)]


@pytest.mark.parametrize(
    ("path", "signed"),
    [
        ("/status", None),
        ("/status?tenant=3&name=São Paulo", None),
        ("/status#fragment", None),
        ("", None),
        ("?tenant=3", None),
        ("/app/../a%2Fb?u=https%3A%2F%2Fexample.org%2F&t=10%3A00", None),
        ("/status", "https://example.com/callbacks?tenant=3"),
    ],
)
async def test_twilios_own_library_takes_it_for_twilios(
    application: Application, path: str, signed: str | None
) -> None:
    fields = form(1, "ringing", at=1, CallerName="Zoë & <b>\n\x1b[2J", CalledCity="", Twice="a") | {"": "x"}
    odd = event_of(fields, received=1)
    (one,) = await sent_once_more([odd], application.url + path, signed_url=signed)
    assert (one.answer.status, one.is_accepted, one.reason) == (200, True, None)
    (sent,) = application.sent
    headers = dict(sent.headers)
    form_as_sent = parse_qsl(sent.body.decode(), keep_blank_values=True)
    assert tuple(form_as_sent) == odd.form
    assert headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    assert headers["X-Callctl-Replay"] == "2026-11-23T10:00:01Z"
    assert headers["Host"] == f"127.0.0.1:{application.port}"
    seen = signed or f"{application.url}{sent.target}"
    check = RequestValidator(TOKEN).validate
    assert check(seen, MultiDict(form_as_sent), headers["X-Twilio-Signature"])
    assert not check(seen + "x", MultiDict(form_as_sent), headers["X-Twilio-Signature"])


@pytest.mark.parametrize(
    ("given", "signed"),
    [
        *((url, url) for url in (
            "https://example.com/s?u=https%3A%2F%2Fexample.org%2Fy&mail=a%40b.example&t=10%3A00&x=%2b1",
            "https://example.com/s?u=https://example.org/y&mail=a@b.example&t=10:00",
            "HTTPS://APP.example.com:443/a%7Eb/../~c?",
            "https://example.com",
            "https://example.com?",
            "https://example.com/Zoë?@",
        )),
        ("https://ann:secret@example.com?to=a@b#fragment", "https://example.com?to=a@b"),
    ],
)  # fmt: skip
async def test_another_url_is_signed_as_it_is_spelled_without_user_and_fragment(
    application: Application, given: str, signed: str
) -> None:
    await sent_once_more([event(1, "ringing")], application.url, signed_url=given)
    (sent,) = application.sent
    fields = dict(event(1, "ringing").form)
    assert dict(sent.headers)["X-Twilio-Signature"] == RequestValidator(TOKEN).compute_signature(signed, fields)


async def test_who_signs_in_by_the_url_does_so_and_the_password_is_neither_signed_nor_shown(
    application: Application,
) -> None:
    url = f"http://ann:secret@127.0.0.1:{application.port}/app"
    (one,) = await sent_once_more([event(1, "ringing")], url)
    (sent,) = application.sent
    headers = dict(sent.headers)
    assert headers["Authorization"] == "Basic YW5uOnNlY3JldA=="
    fields = dict(event(1, "ringing").form)
    assert headers["X-Twilio-Signature"] == RequestValidator(TOKEN).compute_signature(f"{application.url}/app", fields)
    assert one.to_json()["url"] == f"http://ann:***@127.0.0.1:{application.port}/app"


@pytest.mark.parametrize(
    ("speed", "slept"), [(1.0, [3.0, 27.0, 3.0]), (10.0, [0.3, 2.7, 0.3]), (0.5, [6.0, 54.0, 6.0]), (None, [])]
)
async def test_they_come_at_the_pace_of_then(application: Application, speed: float | None, slept: list[float]) -> None:
    time, gaps = Time(), list[tuple[float, str]]()
    # The clock of that machine was set back once.
    events = [event(1, "ringing", number=n, received=at) for n, at in enumerate([50.0, 53.0, 52.0, 80.0, 83.0])]
    sending = Sending(TOKEN, speed)
    callbacks = [Replay(one, application.url) for one in events]
    async for _ in replay(
        callbacks,
        sending,
        clock=time.now,
        sleep=time.sleep,
        on_gap=lambda seconds, one: gaps.append((round(seconds, 6), one.fields["SequenceNumber"])),
    ):
        pass
    numbers = [dict(parse_qsl(sent.body.decode()))["SequenceNumber"] for sent in application.sent]
    assert numbers == ["0", "1", "2", "3", "4"]
    assert time.slept == slept
    assert gaps == [(seconds, "3") for seconds in slept if seconds > 10]


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 40)), max_size=12), st.sampled_from([0.25, 1.0, 10.0]))
def test_none_comes_before_its_time_and_a_slow_application_makes_up_for_it(
    steps: list[tuple[float, float]], speed: float
) -> None:
    """Of each: how long after the one before it came, and how long the application takes."""
    time, arrived = Time(seconds=0.0), 0.0
    pace, expected = _Pace(speed, time.now), 0.0
    for gap, taken in steps:
        arrived += gap
        first = steps[0][0]
        pause = pace.pause_before(event(1, "ringing", received=arrived).received_at)
        time.seconds += max(0.0, pause)
        expected = max(expected, (arrived - first) / speed)
        assert time.seconds == pytest.approx(expected, abs=1e-4)
        time.seconds += taken
        expected = time.seconds


async def test_what_is_refused_and_what_is_not_answered_has_its_reason(application: Application) -> None:
    application.status = 403
    (refused,) = await sent_once_more([event(1, "ringing")], application.url)
    assert (refused.is_accepted, refused.reason) == (False, "HTTP 403")
    await application.stop()
    (lost,) = await sent_once_more([event(1, "ringing")], application.url)
    assert lost.to_json() == {
        "v": 1,
        "type": "replayed",
        "call_sid": sid(1),
        "event": "ringing",
        "call_status": "ringing",
        "kind": "callback",
        "received_at": "2026-11-23T10:00:00Z",
        "url": application.url,
        "status": None,
        "seconds": lost.to_json()["seconds"],
        "reason": "can't connect (Connection refused)",
    }
    await application.start()  # for the fixture, which stops it


async def test_a_listener_of_callctl_takes_no_replays(tmp_path: Path) -> None:
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0)) as watch:
        for path in ("/status", "/elsewhere"):
            (one,) = await sent_once_more([event(1, "ringing")], f"http://127.0.0.1:{watch.ready.port}{path}")
            assert (one.answer.status, one.came_to_callctl, one.is_accepted) == (409, True, False)
        header = watch.session.header()
        assert (header.accepted, header.duplicates, header.ignored, header.refused) == (0, 0, 0, 0)
    assert not watch.view.troubles
