"""A watch that is killed between any two steps, and the next one: real processes, a real simulator, a real store."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from crashing import run_one_watch
from running import env_for
from staging import WORLD, Stage

from callctl.actions import DONE, LATE, UNKNOWN
from callctl.store.sqlite import SqliteStore

ACTOR = Path(__file__).parents[1] / "crashing.py"
KILLED = 9


def act(stage: Stage, what: str, sid: str, *, steps: int) -> int:
    """Run one watch's executor in a process that dies at its n-th step."""
    arguments = [what, sid, str(stage.home), stage.site.url, str(steps)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(stage.home), **env_for(stage.simulator)}
    return subprocess.run([sys.executable, str(ACTOR), *arguments], env=environment, timeout=60).returncode


@pytest.mark.parametrize("what", ["cancel", "redirect"])
def test_killed_between_every_two_steps(stage: Stage, what: str) -> None:
    died = 0
    for steps in itertools.count():
        sid = stage.place("+12025550103" if what == "cancel" else "+12025550100", callbacks=False)
        stage.until_of_rest(sid, "ringing" if what == "cancel" else "in-progress")
        code = act(stage, what, sid, steps=steps)
        if code == 0:
            break
        assert code == KILLED
        died += 1
        run_one_watch(what, sid, stage.home, stage.site.url, stage.gateway, later=3600)
        check(stage, what, sid)
    check(stage, what, sid)
    assert died >= 6  # before and after the look, the claim, the request and the record


def check(stage: Stage, what: str, sid: str) -> None:
    store = SqliteStore(stage.home / "events.db", world=WORLD)
    results = [event.result for event in store.reader.actions(sid)]
    store.close()
    assert len(results) == 1  # told once, whatever happened
    if what == "cancel":
        assert stage.gateway.fetch(sid).status == "canceled"
        assert results[0] in (DONE, LATE)
    else:
        sent = stage.sent("Url", f"{stage.site.url}/survey").count(sid)
        assert sent <= 1
        assert results[0] == DONE or results[0] == UNKNOWN
        assert results[0] == UNKNOWN or sent == 1
