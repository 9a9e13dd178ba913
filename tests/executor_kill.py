"""Watches' executors as processes that die at their n-th step, as if by kill -9: nothing is closed or flushed.

Each is forked from a process that has loaded the program, so that there may be hundreds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from events import WORLD
from fork_server import Forked, can_fork, fork
from processes import LIMIT, environment

from callctl.api.client import ApiClient
from callctl.rules.executor import Executor
from callctl.rules.rule import Action, Cancel, Hangup, Redirect, Rule, When, after_dial_rule
from callctl.settings import load
from callctl.store.sqlite.store import SqliteStore
from callctl.support.clock import Clock

KILLED = 9


@dataclass(frozen=True)
class Job:
    """What one watch is to do: to which leg, after a look at which one; ``home`` holds its store."""

    what: str
    sid: str
    about: str
    home: str
    survey: str

    @property
    def rule(self) -> Rule:
        survey = Redirect("survey", self.survey)
        ringing, answered = When(statuses=frozenset({"ringing"})), When(statuses=frozenset({"in-progress"}))
        match self.what:
            case "cancel":
                return Rule(name="cancel", when=ringing, then=Cancel())
            case "hangup":
                return Rule(name="hangup", when=answered, then=Hangup())
            case "redirect":
                return Rule(name="redirect", when=answered, then=survey)
            case _:
                return after_dial_rule(survey)

    def run(self, client: ApiClient, *, later: float = 0.0) -> None:
        """Do what a watch does: first the claims left by a crash, then the proposal, with a clock that is ahead."""

        clock = Clock(wall=lambda: datetime.now(UTC) + timedelta(seconds=later))
        api: Any = KillSwitch(client)
        claims: Any = KillSwitch(SqliteStore.open(Path(self.home) / "events.db", world=WORLD))
        executor = Executor(api, claims, clock=clock, sleep=_at_once, applies=lambda _: True, report=_say_nothing)
        action = Action(self.rule, self.sid, self.about, self.sid, needs_precheck=True, is_own=True)
        for claim in claims.expired_claims(
            is_over=lambda claim: claim.lease is not None and clock.has_passed(claim.lease)
        ):
            executor.recover(claim, action)
        executor.execute(action)
        claims.close()


def _at_once(_seconds: float) -> None:
    """Wait for nothing: what is read back changes no more."""


def _say_nothing(_text: str) -> None:
    """Report nothing."""


class KillSwitch:
    """Stands before the API client or the claims, and dies before the n-th call of them: nothing happens in between."""

    remaining = 10**6

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            if KillSwitch.remaining == 0:
                os._exit(KILLED)
            KillSwitch.remaining -= 1
            return method(*args, **kwargs)

        return called


def run_killed(job: Job, *, steps: int, env: Mapping[str, str]) -> int:
    """Have a process do it that dies at its n-th step, with these settings; return its exit code."""
    home, argument = Path(job.home), json.dumps([asdict(job), steps])
    variables = environment(home, env)
    if not can_fork(variables):
        command = [sys.executable, __file__, argument]
        return subprocess.run(command, cwd=home, env=variables, timeout=LIMIT, check=False).returncode
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        files = (nothing, nothing, 2)  # what goes wrong is said where pytest keeps it
        pid = fork([argument], cwd=home, environment=variables, files=files, terminal=False, module="executor_kill")
    finally:
        os.close(nothing)
    return Forked(pid).wait(timeout=LIMIT)


def main() -> None:
    """Be the watch that an argument describes."""
    job_fields, steps = json.loads(sys.argv[1])
    job = Job(**job_fields)
    KillSwitch.remaining = steps
    settings = load(os.environ, cwd=Path(job.home))
    job.run(ApiClient(settings, sleep=time.sleep, random=lambda: 0.5))
    os._exit(0)  # without what an interpreter does at its end, which takes as long as all the rest


if __name__ == "__main__":
    main()
