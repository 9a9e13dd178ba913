"""A watch that is killed between any two steps, and the next one: real processes, a real simulator, a real store."""

from __future__ import annotations

import itertools

import pytest
from events import WORLD
from executor_kill import KILLED, Job, run_killed
from rules_setup import ManualClockSetup, RulesSetup
from running import env_for

from callctl.calls.action import DONE, LATE, NOT_ENDED, UNKNOWN
from callctl.simulator.settings import CANCEL_REFUSED_IN_PROGRESS, CANCEL_SPARES_DIAL_LEGS, HANG_UP_TWICE
from callctl.store.sqlite.store import SqliteStore

PAUSE = "<Pause length='36000'/>"
# What is requested, and at how many steps a watch can die at least: before its search for open claims, the
# look, the claim, its renewal, the request and the record.
ERRANDS = ("cancel", "cancel in a Dial", "hangup", "redirect", "after-dial")
LEAST = 6
# The readings that have a request answered otherwise; under those that don't, each errand goes as under the first.
READINGS_THAT_MATTER = {
    "cancel": (CANCEL_REFUSED_IN_PROGRESS,),
    "cancel in a Dial": (CANCEL_REFUSED_IN_PROGRESS, CANCEL_SPARES_DIAL_LEGS),
    "hangup": (HANG_UP_TWICE,),
}


@pytest.mark.parametrize(
    ("manual_clock", "what"),
    [
        *(((), what) for what in ERRANDS),
        *(((reading,), what) for what, readings in READINGS_THAT_MATTER.items() for reading in readings),
    ],
    indirect=["manual_clock"],
    ids=str,
)
def test_killed_between_every_two_steps(manual_clock: ManualClockSetup, what: str) -> None:
    died = 0
    for steps in itertools.count():
        job = prepare(manual_clock, what)
        code = run_killed(job, steps=steps, env=env_for(manual_clock.simulator))
        if code != 0:
            assert code == KILLED
            died += 1
            job.run(manual_clock.client, later=3600)
        check(manual_clock, job, what)
        if code == 0:
            break
    assert died >= LEAST


def prepare(setup: ManualClockSetup, what: str) -> Job:
    """Place a call for which a rule asks for something now."""
    survey = f"{setup.site.url}/survey"
    if what == "cancel in a Dial":
        parent = dial(setup, "no-answer")
        setup.pause(5)
        child = setup.child_of_rest(parent)
        return Job("cancel", child, child, str(setup.home), survey)
    if what == "after-dial":
        parent = dial(setup, "hangs-up")
        setup.pause(15)
        child = setup.child_of_rest(parent)
        assert setup.client.fetch(child).status == "completed"
        return Job(what, parent, child, str(setup.home), survey)
    sid = setup.place("+12025550103" if what == "cancel" else "+12025550100", callbacks=False)
    setup.pause(5)
    assert setup.client.fetch(sid).status == ("ringing" if what == "cancel" else "in-progress")
    return Job(what, sid, sid, str(setup.home), survey)


def dial(setup: ManualClockSetup, name: str) -> str:
    document = f"<Response><Dial timeout='600'><Sip>sip:{name}@example.com</Sip></Dial>{PAUSE}</Response>"
    return setup.place(twiml=document, callbacks=False)


def check(setup: ManualClockSetup, job: Job, what: str) -> None:
    results = results_of(setup, job.sid)
    assert len(results) == 1  # reported once, whatever happened
    status = setup.client.fetch(job.sid).status
    if job.what in ("redirect", "after-dial"):
        sent = setup.sent("Url", job.survey).count(job.sid)
        assert sent <= 1
        assert results == [UNKNOWN] or (results == [DONE] and sent == 1)
        assert status == "in-progress"
    elif what == "cancel in a Dial" and CANCEL_SPARES_DIAL_LEGS in setup.simulator.settings.readings:
        assert results == [NOT_ENDED]
        assert status == "ringing"
    else:
        assert results[0] in (DONE, LATE)
        assert status == ("completed" if what == "hangup" else "canceled")


def results_of(setup: RulesSetup, sid: str) -> list[str]:
    store = SqliteStore.open_for_watch(setup.home / "events.db", world=WORLD)
    results = [event.result for event in store.actions(sid)]
    store.close()
    return results
