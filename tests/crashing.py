"""One watch's executor as a process that dies at its n-th step, as if by kill -9: nothing is closed or flushed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from staging import WORLD

from callctl.gateway import Gateway
from callctl.operations.acting.doorway import Doorway
from callctl.operations.acting.executor import Executor
from callctl.policies import Action, Cancel, Redirect, Rule, When
from callctl.settings import load
from callctl.store.claims import SqliteClaims


class Dying:
    """Stands before the gateway or the claims; counts each call as two steps, one before and one after it."""

    left = 10**6

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            self._step()
            result = method(*args, **kwargs)
            self._step()
            return result

        return called

    def _step(self) -> None:
        if Dying.left == 0:
            os._exit(9)
        Dying.left -= 1


def run_one_watch(what: str, sid: str, home: Path, site: str, gateway: Gateway, *, later: float = 0.0) -> None:
    """Do what a watch does: first what a crash left open, then what the rules ask for, by a clock that is ahead."""

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=later)

    door: Any = Dying(Doorway(gateway))
    claims: Any = Dying(SqliteClaims(home / "events.db", world=WORLD))
    executor = Executor(door, claims, now=now, sleep=time.sleep, applies=lambda _: True, trouble=print)
    status, then = ("ringing", Cancel()) if what == "cancel" else ("in-progress", Redirect("survey", f"{site}/survey"))
    rule = Rule(name=what, when=When(statuses=frozenset({status})), then=then)
    action = Action(rule, sid, sid, sid, look_first=True, is_own=True)
    for claim in claims.left_open(now=now()):
        executor.recover(claim, action)
    executor.perform(action)


def main(what: str, sid: str, home: str, site: str, steps: str) -> None:
    """Run one watch that dies at its n-th step."""
    settings = load(os.environ, cwd=Path(home))
    gateway = Gateway(settings, sleep=time.sleep, random=lambda: 0.5)
    Dying.left = int(steps)
    run_one_watch(what, sid, Path(home), site, gateway)


if __name__ == "__main__":
    main(*sys.argv[1:])
