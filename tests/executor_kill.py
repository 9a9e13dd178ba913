"""Watches' executors as processes that die at their n-th step, as if by kill -9: nothing is closed or flushed.

One process loads the program and then forks for each of them, so that there may be hundreds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from events import WORLD

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


class ForkingProcess:
    """Runs watches in processes of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, job: Job, *, steps: int, env: Mapping[str, str]) -> int:
        """Run one that dies at its n-th step, with these settings; return its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([asdict(job), steps, dict(env)]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def forking_process(environment: dict[str, str]) -> Iterator[ForkingProcess]:
    """Begin the process that forks; it ends with the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, __file__], env=environment, stdin=pipe, stdout=pipe, text=True) as running:
        yield ForkingProcess(running)
        assert running.stdin is not None
        running.stdin.close()
        running.wait(timeout=120)


def main() -> None:
    """Fork for each line that asks for a watch, and write its exit code."""
    import callctl.api.transport  # noqa: F401 - what each would have to load for itself

    for line in sys.stdin:
        job_fields, steps, env = json.loads(line)
        child = os.fork()
        if child == 0:
            KillSwitch.remaining = steps
            job = Job(**job_fields)
            settings = load({"HOME": job.home, **env}, cwd=Path(job.home))
            job.run(ApiClient(settings, sleep=time.sleep, random=lambda: 0.5))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
