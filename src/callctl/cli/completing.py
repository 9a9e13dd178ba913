"""What the shell offers after Tab: names of URLs, events, statuses, and the SIDs of live calls known here.

Nothing is asked of the API, nothing is said, and what can't be read offers nothing. zsh evaluates what it is offered,
explanations included, and names come from files that others wrote: only harmless characters are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from callctl.calls import EVENT_NAMES, REST_STATUSES
from callctl.cli.runtime import Runtime
from callctl.errors import CallctlError
from callctl.masking import masked

if TYPE_CHECKING:
    from callctl.settings import Settings

Offer = list[tuple[str, str]]

_WORD = re.compile(r"[A-Za-z0-9_.,@+:-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9 _.,:;/?&=%+@~#()-]")

_EVENT_HELP = {
    "initiated": "dialling has begun",
    "ringing": "the far end rings",
    "answered": "the call is in progress",
    "completed": "the call has ended, in whatever way",
}


_GOALS = {
    "ringing": "the far end rings",
    "in-progress": "the call was answered",
    "answered": "another word for in-progress",
    "ended": "the call is over, in whatever way",
}
_ENDS = ("completed", "busy", "no-answer", "failed", "canceled")


def call_sids(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer ``@last``, and the calls that have not ended as far as the local store was told."""
    found = [("@last", "the call placed last")] if incomplete.startswith("@") else []
    settings = _settings(ctx)
    if settings is not None:
        found += _live(settings)
    return _beginning(found, incomplete)


def url_names(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer the names of TwiML URLs that the settings know."""
    settings = _settings(ctx)
    urls = {} if settings is None else settings.urls
    return _beginning(((name, masked(named.url)) for name, named in sorted(urls.items())), incomplete)


def event_names(incomplete: str) -> Offer:
    """Offer the events of status callbacks; of a comma list, the part after the last comma."""
    begun, comma, last = incomplete.rpartition(",")
    offered = _beginning(((name, _EVENT_HELP[name]) for name in EVENT_NAMES), last)
    return [(f"{begun}{comma}{name}", told) for name, told in offered]


def statuses(incomplete: str) -> Offer:
    """Offer the statuses that the list can be filtered by."""
    return _beginning(((str(status), "") for status in REST_STATUSES), incomplete)


def goals(incomplete: str) -> Offer:
    """Offer what can be waited for."""
    return _beginning([*_GOALS.items(), *((status, "this end and no other") for status in _ENDS)], incomplete)


def redirectable(incomplete: str) -> Offer:
    """Offer the statuses in which a call can be redirected."""
    return _beginning(((name, _GOALS[name]) for name in ("in-progress", "answered")), incomplete)


def _beginning(found: Iterable[tuple[str, str]], incomplete: str) -> Offer:
    fitting = ((text, told) for text, told in found if text.startswith(incomplete) and _WORD.fullmatch(text))
    return [(text, _UNSAFE.sub("?", told)) for text, told in fitting]


def _live(settings: Settings) -> Iterator[tuple[str, str]]:
    from callctl.store.reader import Reader

    try:
        if not settings.store.exists():
            return
        with closing(Reader.open(settings.store, world=settings.world, busy_timeout=0.2)) as reader:
            calls = reader.live_calls()
    except (CallctlError, OSError):
        return
    yield from ((row.call_sid, row.status) for row in reversed(calls))


def _settings(ctx: typer.Context) -> Settings | None:
    """Return the settings that the command line so far means, without a word about them."""
    from callctl.settings import load

    runtime = ctx.find_root().obj
    runtime = runtime if isinstance(runtime, Runtime) else Runtime.of_process()
    file, account = ctx.params.get("env_file"), ctx.params.get("account_sid")
    try:
        return load(
            runtime.environ,
            cwd=runtime.cwd,
            env_file=Path(file) if file else None,
            overrides={"TWILIO_ACCOUNT_SID": account} if account else None,
        )
    except (CallctlError, OSError):
        return None
