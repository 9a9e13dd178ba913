"""A watch that is killed between any two steps, and the next one: real processes, a real simulator, a real store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from crashing import KILLED, Errand, Watches, watches
from running import env_for
from staging import WORLD, Stage
from turning import TurnedStage

from callctl.calls.action import DONE, LATE, NOT_ENDED, UNKNOWN
from callctl.simulator.settings import CANCEL_SPARES_DIAL_LEGS
from callctl.store.sqlite.store import EventStore

PAUSE = "<Pause length='36000'/>"
# What is asked, of whom; and at how many steps a watch can die at least: before its search for what a crash left, the
# look, the claim, its renewal, the request and the record.
ERRANDS = ("cancel", "cancel in a Dial", "hangup", "redirect", "after-dial")
LEAST = 6


@pytest.fixture
def running(turned: TurnedStage) -> Iterator[Watches]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(turned.home), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with watches({**environment, **env_for(turned.simulator)}) as running:
        yield running


@pytest.mark.parametrize("what", ERRANDS)
def test_killed_between_every_two_steps(turned: TurnedStage, running: Watches, what: str) -> None:
    died = 0
    for steps in itertools.count():
        errand = prepare(turned, what)
        code = running.run(errand, steps=steps)
        if code != 0:
            assert code == KILLED
            died += 1
            errand.run(turned.client, later=3600)
        check(turned, errand, what)
        if code == 0:
            break
    assert died >= LEAST


def prepare(stage: TurnedStage, what: str) -> Errand:
    """Place a call for which a rule asks for something now."""
    survey = f"{stage.site.url}/survey"
    if what == "cancel in a Dial":
        parent = dial(stage, "no-answer")
        stage.pause(5)
        child = stage.child_of_rest(parent)
        return Errand("cancel", child, child, str(stage.home), survey)
    if what == "after-dial":
        parent = dial(stage, "hangs-up")
        stage.pause(15)
        child = stage.child_of_rest(parent)
        assert stage.client.fetch(child).status == "completed"
        return Errand(what, parent, child, str(stage.home), survey)
    sid = stage.place("+12025550103" if what == "cancel" else "+12025550100", callbacks=False)
    stage.pause(5)
    assert stage.client.fetch(sid).status == ("ringing" if what == "cancel" else "in-progress")
    return Errand(what, sid, sid, str(stage.home), survey)


def dial(stage: TurnedStage, name: str) -> str:
    document = f"<Response><Dial timeout='600'><Sip>sip:{name}@example.com</Sip></Dial>{PAUSE}</Response>"
    return stage.place(twiml=document, callbacks=False)


def check(stage: TurnedStage, errand: Errand, what: str) -> None:
    results = results_of(stage, errand.sid)
    assert len(results) == 1  # told once, whatever happened
    status = stage.client.fetch(errand.sid).status
    if errand.what in ("redirect", "after-dial"):
        sent = stage.sent("Url", errand.survey).count(errand.sid)
        assert sent <= 1
        assert results == [UNKNOWN] or (results == [DONE] and sent == 1)
        assert status == "in-progress"
    elif what == "cancel in a Dial" and CANCEL_SPARES_DIAL_LEGS in stage.simulator.settings.readings:
        assert results == [NOT_ENDED]
        assert status == "ringing"
    else:
        assert results[0] in (DONE, LATE)
        assert status == ("completed" if what == "hangup" else "canceled")


def results_of(stage: Stage, sid: str) -> list[str]:
    store = EventStore.open_for_watch(stage.home / "events.db", world=WORLD)
    results = [event.result for event in store.actions(sid)]
    store.close()
    return results
