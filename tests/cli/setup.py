"""A simulator whose time passes only on demand, and calls placed in it: what the tests of changing commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from running import Callctl, Outcome, env_for

from callctl.calls.event import CallEvent
from callctl.settings import load
from callctl.simulator import Received, Simulator
from callctl.store.sqlite.store import SqliteStore

UNKNOWN = "CA" + "0" * 32
ANSWERS, NEVER, BUSY = "+12025550100", "+12025550103", "+12025550102"
LONG = "A sentence that takes a good while to say. " * 30


@dataclass
class CliSetup:
    """One simulator, and callctl set up for it."""

    simulator: Simulator
    run: Callctl
    home: Path

    def callctl(self, *args: str, env: Mapping[str, str] | None = None, **more: Any) -> Outcome:
        return self.run(
            *args, env={**env_for(self.simulator), "CALLCTL_URL_SURVEY": self.survey, **(env or {})}, **more
        )

    @property
    def survey(self) -> str:
        return f"{self.simulator.url}/simulator/survey"

    def place(self, to: str = ANSWERS, *what: str, after: float = 0.0) -> str:
        """Place a call, let simulated seconds pass, and return its SID."""
        options = what or ("--say", LONG)
        sid = self.callctl("place", to, *options, "--status-callback", "none").out.strip()
        self.simulator.advance(after)
        return sid

    def dialled(self, *more: str, after: float = 5.0) -> tuple[str, str]:
        """Place a call that dials a client, with more options; return the SIDs of parent and child."""
        return self._both_legs(self.place(ANSWERS, "--dial", "client:ann", *more, after=after))

    def talking(self, then: str = f"<Say>{LONG}</Say>") -> tuple[str, str]:
        """Place a call whose TwiML dials a client, and has more than that; return the SIDs of parent and child."""
        twiml = f"<Response><Dial><Client>ann</Client></Dial>{then}</Response>"
        return self._both_legs(self.place(ANSWERS, "--twiml", twiml, after=5.0))

    def _both_legs(self, parent: str) -> tuple[str, str]:
        return parent, self.callctl("list", "--parent", parent, "-q").out.strip()

    def status(self, sid: str) -> str:
        """Return what the API shows; where there is no store, ``list`` knows nothing else."""
        calls = json.loads(self.callctl("list", "--json", env={"HOME": str(self.home / "without-store")}).out)
        return next(str(call["status"]) for call in calls if call["sid"] == sid)

    def sent(self, method: str = "POST") -> list[Received]:
        """Return the requests that would change a call, or with ``GET`` those that asked."""
        return [one for one in self.simulator.requests if one.method == method and "/Calls/" in one.path]

    def add_callback(
        self,
        sid: str,
        status: str,
        *,
        at: datetime,
        env: Mapping[str, str] | None = None,
        parent: str | None = None,
        to: str = "",
        verified: bool = True,
    ) -> None:
        """Put a callback's event into the local store, as a watch would."""
        fields = {
            "CallSid": sid,
            "AccountSid": self.simulator.account_sid,
            "CallStatus": status,
            "Direction": "outbound-dial" if parent else "outbound-api",
            **({"From": "+15005550006", "ParentCallSid": parent} if parent else {}),
            **({"To": to} if to else {}),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": "0",
            "Timestamp": format_datetime(at),
        }
        environ = {"HOME": str(self.home), **env_for(self.simulator), **(env or {})}
        settings = load(environ, cwd=self.home)
        settings.store.parent.mkdir(parents=True, exist_ok=True)
        store = SqliteStore.open_for_watch(settings.store, world=settings.world)
        store.append(CallEvent.from_form(fields.items(), received_at=at, world=settings.world, verified=verified))
        store.close()


def messages(outcome: Outcome) -> str:
    """Return what was said on stderr, without the word on whose API it is."""
    lines = outcome.err.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("callctl: the API is"))


def settled(setup: CliSetup, *, after: float = 8) -> str:
    """Place a call that is answered, and let REST catch up."""
    sid = setup.place(after=after)
    assert setup.status(sid) == "in-progress"
    return sid
