"""One line for each request that a simulator received or made, for whoever reads along."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from callctl.cli.runtime import Runtime
from callctl.errors import UsageError

if TYPE_CHECKING:
    from callctl.simulator import Received, Sent


_TIMES = ("always", "never", "terminal")


def witness_of(runtime: Runtime, *, when: str) -> Callable[[Received | Sent], None]:
    """Return what tells on stderr of each request, at its local time: always, never, or where that is a terminal.

    Raises:
        UsageError: It is none of these times.
    """
    from callctl.simulator import Received

    if when not in _TIMES:
        raise UsageError(f"--log has no such time: {when}", hint=f"one of {', '.join(_TIMES)}")
    if when == "never" or (when == "terminal" and not runtime.stderr.isatty()):
        return lambda _: None

    def tell(traffic: Received | Sent) -> None:
        at = runtime.now().astimezone()
        runtime.say(received_line(traffic, at=at) if isinstance(traffic, Received) else sent_line(traffic, at=at))

    return tell


def received_line(request: Received, *, at: datetime) -> str:
    """Tell an API request and its answer; what was refused with its whole path, else without the account's."""
    rest = request.path.partition("/Accounts/")[2].partition("/")[2]
    path = f"/{rest}" if rest and request.status < 400 else request.path
    query = f"?{urlencode(request.query, safe='<>:+,@')}" if request.query else ""
    code = f" {request.code}" if request.code is not None else ""
    return _one_line(f"{at:%H:%M:%S} <-- {request.status}{code} {request.method} {path}{query}")


def sent_line(request: Sent, *, at: datetime) -> str:
    """Tell a request that the simulator made, about which call, and what came of it."""
    reply, why = request.reply, ""
    if reply is None:
        outcome = "dropped"
    elif reply.status is None:
        outcome, why = "failed", f" ({reply.error})"
    else:
        outcome = str(reply.status)
    tries = f" (try {reply.attempts})" if reply is not None and reply.attempts > 1 else ""
    about = f" {request.status} {request.call}".rstrip()
    return _one_line(f"{at:%H:%M:%S} --> {outcome}{tries} {request.method} {request.url}{about}{why}")


def _one_line(text: str) -> str:
    return text.replace("\n", "\N{REPLACEMENT CHARACTER}")
