"""Callbacks that are shuffled, doubled, late and lost: nothing is done twice or to the wrong call.

What no callback reports, a poll does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_run import seconds
from events import WORLD
from rules_setup import ManualClockSetup, manual_clock_setup
from running import READINGS_OF_CANCEL

from callctl.api.requests import RedirectRequest
from callctl.calls.action import DONE
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Cancel, Redirect, after_dial_rule, ring_limit_rule
from callctl.simulator.faults import Faults
from callctl.watch.poll import Poller

PAUSE = "<Pause length='36000'/>"
RING_LIMIT = 20
POLL_EVERY = 15
KEPT = ("keeps", "by-action", "dials-again", "declined", "several")  # callers whom a talk leaves with their TwiML

FAULTS = {
    "shuffled": Faults(shuffle=True),
    "doubled": Faults(duplicate=0.7),
    "late": Faults(delay=(0.0, 8.0)),
    "lost": Faults(drop=0.3),
    "all at once": Faults(shuffle=True, duplicate=0.3, drop=0.2, delay=(0.0, 4.0)),
}
ALONE = [name for name in FAULTS if name != "all at once"]


def documents(setup: ManualClockSetup) -> dict[str, str]:
    """Return callers' documents: each a Dial, and what comes after it."""
    talk = setup.noun("Sip", "sip:hangs-up@example.com")
    declines = setup.noun("Number", "+12025550100", url=f"{setup.site.url}/whisper")
    several = talk + setup.noun("Client", "no-answer")
    return {
        "keeps": f"<Dial>{talk}</Dial>{PAUSE}",
        "by-action": f"<Dial action='{setup.site.url}/thanks'>{talk}</Dial>",
        "dials-again": f"<Dial>{talk}</Dial><Dial>{talk}</Dial>{PAUSE}",
        "declined": f"<Dial>{declines}</Dial>{PAUSE}",
        "several": f"<Dial>{several}</Dial>{PAUSE}",
        "ends": f"<Dial>{talk}</Dial>",
        "nobody": f"<Dial timeout='15'>{setup.noun('Client', 'busy')}</Dial>{PAUSE}",
    }


class TalkCheckingApi:
    """An API that sees that no caller is redirected during a talk."""

    def __init__(self, inner: Any, setup: ManualClockSetup) -> None:
        self._inner = inner
        self._setup = setup

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "redirect":
            return self._redirect
        return getattr(self._inner, name)  # type: ignore[no-any-return]

    def _redirect(self, sid: str, request: RedirectRequest) -> Any:
        assert not [call.sid for call in self._setup.children(sid) if call.is_live]
        return self._inner.redirect(sid, request)


class FaultySetup(ManualClockSetup):
    """A setup with all callers, and a poll now and then."""

    def api(self) -> Any:
        return TalkCheckingApi(super().api(), self)

    def begin(self) -> None:
        site = self.site
        site.documents["/survey"] = (
            f"<Response><Dial>{self.noun('Sip', 'sip:hangs-up@example.com')}</Dial>{PAUSE}</Response>"
        )
        site.documents["/thanks"] = f"<Response>{PAUSE}</Response>"
        site.documents["/whisper"] = "<Response><Hangup/></Response>"
        self.act(
            ring_limit_rule(seconds(RING_LIMIT), cancel=Cancel()),
            after_dial_rule(Redirect("survey", f"{site.url}/survey")),
            rate_limit=RateLimit(per_second=1000, per_minute=1000),
        )
        self.poller = Poller(self.client, world=WORLD, clock=self.clock)

    def go_through(self, span: float) -> None:
        for _ in range(int(span / POLL_EVERY)):
            self.settle(POLL_EVERY)
            self.take(list(self.poller.round(self.board.snapshot())))


# All faults at once under each reading, and each fault alone under the first.
@pytest.mark.parametrize(
    ("readings", "faults"),
    [
        *((readings, "all at once") for readings in READINGS_OF_CANCEL),
        *((READINGS_OF_CANCEL[0], fault) for fault in ALONE),
    ],
    ids=str,
)
def test_nothing_is_done_twice_or_to_the_wrong_call(tmp_path: Path, readings: tuple[str, ...], faults: str) -> None:
    with manual_clock_setup(tmp_path, FaultySetup, readings=readings, faults=FAULTS[faults]) as setup:
        setup.begin()
        callers = {name: setup.place(twiml=f"<Response>{text}</Response>") for name, text in documents(setup).items()}
        rings = setup.place("+12025550103")
        setup.go_through(120)
        surveyed = setup.sent("Url", f"{setup.site.url}/survey")
        assert len(surveyed) == len(set(surveyed))
        assert set(surveyed) <= {callers[name] for name in KEPT}
        if "lost" not in faults and "all" not in faults:
            assert set(surveyed) == {callers[name] for name in KEPT}
        assert setup.client.fetch(rings).status == "canceled"
        answered = {callback.leg for callback in setup.simulator.callbacks if callback.event == "answered"}
        ended = {event.call_sid for event in setup.events if event.action == "cancel" and event.result == DONE}
        assert not answered & ended
        keys = [(event.rule, event.call_sid) for event in setup.events]
        assert len(keys) == len(set(keys))
        assert setup.sent("Status", "completed") == []
