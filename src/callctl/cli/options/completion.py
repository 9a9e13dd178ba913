"""What the shell offers after Tab: names of URLs, events, statuses, and the SIDs of calls known here.

No request is sent, nothing is printed, and what can't be read offers nothing. zsh evaluates what it is offered,
explanations included, and names come from files that others wrote: only harmless characters are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from callctl.calls.call import EVENT_NAMES, FIELDS, REST_STATUSES
from callctl.cli.io.runtime import Runtime
from callctl.errors import CallctlError, without_secrets

if TYPE_CHECKING:
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore
    from callctl.store.records import CallRow

SORTS = ("start", "duration", "status")  # of ``list --sort``
GROUPINGS = ("to", "from", "hour", "status")  # of ``stats --by``

FORMATS = ("html", "mermaid", "csv", "json")  # of ``export --format``

Offer = list[tuple[str, str]]

_WORD = r"[A-Za-z0-9_.,@+:-]+"
_UNSAFE = r"[^A-Za-z0-9 _.,:;/?&=%+@~#()-]"

# By this variable our script for bash passes on for what it completes: COMP_TYPE.
LISTED_BY_BASH = "_CALLCTL_COMP_TYPE"
# Its values where a list is shown, after a second Tab or at once; with others, what is offered may be inserted whole.
_LISTINGS = frozenset(str(ord(letter)) for letter in "?!@")
_DESCRIBED = 50  # live calls; the events of each are read
_MOST_ENDED = 10  # calls that have ended, of the latest
# A start so long or longer is looked up; the calls that begin with a shorter one are too many to be sorted by time.
_LOOKED_UP = 5
_LATEST = 100  # calls among which those with a shorter start are

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
    """Offer ``@last``, and the calls that have not ended as far as the local store knows."""
    return _sids(ctx, incomplete, most_ended=0)


def past_call_sids(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer the same, and the latest calls that have ended: for commands that look at what happened."""
    return _sids(ctx, incomplete, most_ended=_MOST_ENDED)


def _sids(ctx: typer.Context, incomplete: str, *, most_ended: int) -> Offer:
    runtime = _runtime(ctx)
    offers = [("@last", "the call placed last")] if incomplete.startswith("@") else []
    settings = _settings(ctx)
    if settings is not None:
        offers += _calls(settings, incomplete, now=runtime.now(), most_ended=most_ended)
    offered = _beginning(offers, incomplete)
    if len(offered) > 1 and runtime.environ.get(LISTED_BY_BASH) in _LISTINGS:
        # Bash shows what it is offered, and of several inserts what they have in common: never more than of the SIDs.
        return [(f"{text}  {help_text}", "") for text, help_text in offered]
    return offered


def url_names(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer the names of TwiML URLs that the settings know."""
    settings = _settings(ctx)
    urls = {} if settings is None else settings.urls
    return _beginning(((name, named.url) for name, named in sorted(urls.items())), incomplete)


def event_names(incomplete: str) -> Offer:
    """Offer the events of status callbacks; of a comma list, the part after the last comma."""
    begun, comma, last = incomplete.rpartition(",")
    offered = _beginning(((name, _EVENT_HELP[name]) for name in EVENT_NAMES), last)
    return [(f"{begun}{comma}{name}", help_text) for name, help_text in offered]


def columns(incomplete: str) -> Offer:
    """Offer the fields of a call; of a comma list, the part after the last comma, without those that it has."""
    begun, comma, last = incomplete.rpartition(",")
    named = begun.split(",")
    offered = _beginning(((name, "") for name in FIELDS if name not in named), last)
    return [(f"{begun}{comma}{name}", help_text) for name, help_text in offered]


def statuses(incomplete: str) -> Offer:
    """Offer the statuses that the list can be filtered by."""
    return _beginning(((str(status), "") for status in REST_STATUSES), incomplete)


def callback_kinds(incomplete: str) -> Offer:
    """Offer the kinds of callbacks that can be sent once more."""
    from callctl.calls.event import CALLBACK, TWIML_REQUEST
    from callctl.calls.other_callbacks import FEATURES

    return _beginning(((kind, "") for kind in (CALLBACK, *FEATURES, TWIML_REQUEST)), incomplete)


def sorts(incomplete: str) -> Offer:
    """Offer what calls can be sorted by."""
    return _beginning(((sort, "") for sort in SORTS), incomplete)


def formats(incomplete: str) -> Offer:
    """Offer the formats in which calls can be exported."""
    return _beginning(((form, "") for form in FORMATS), incomplete)


def groupings(incomplete: str) -> Offer:
    """Offer the keys by which figures can be grouped."""
    return _beginning(((key, "") for key in GROUPINGS), incomplete)


def goals(incomplete: str) -> Offer:
    """Offer what can be waited for."""
    return _beginning([*_GOALS.items(), *((status, "this end and no other") for status in _ENDS)], incomplete)


def redirectable(incomplete: str) -> Offer:
    """Offer the statuses in which a call can be redirected."""
    return _beginning(((name, _GOALS[name]) for name in ("in-progress", "answered")), incomplete)


def _beginning(offers: Iterable[tuple[str, str]], incomplete: str) -> Offer:
    fitting = (
        (text, help_text) for text, help_text in offers if text.startswith(incomplete) and re.fullmatch(_WORD, text)
    )
    # Passwords are masked here: by the time it is written, zsh's form has a backslash before each colon.
    return [(text, re.sub(_UNSAFE, "?", without_secrets(help_text))) for text, help_text in fitting]


def _calls(settings: Settings, start: str, *, now: datetime, most_ended: int) -> Offer:
    """Return the live calls that begin so, the last touched first, with number, status and age where there are few.

    Some that have ended come after them, the latest first.
    """
    from callctl.store.opening import open_readonly

    try:
        reader = open_readonly(settings, busy_timeout=0.2)
        if reader is None:
            return []
        with closing(reader):
            calls = [row for row in reversed(reader.live_calls()) if row.call_sid.startswith(start)]
            few = len(calls) <= _DESCRIBED
            live = [(row.call_sid, _described(reader, row, now=now) if few else row.status) for row in calls]
            ended = _ended(reader, start)[:most_ended] if most_ended else []
            return [*live, *((row.call_sid, _last_seen(row, now=now)) for row in ended)]
    except (CallctlError, OSError):
        return []


def _ended(reader: EventStore, start: str) -> list[CallRow]:
    if len(start) >= _LOOKED_UP:
        return [row for row in reader.calls_starting(start, limit=_LATEST) if row.is_final]
    return [row for row in reader.ended_calls(limit=_LATEST) if row.call_sid.startswith(start)]


def _described(reader: EventStore, row: CallRow, *, now: datetime) -> str:
    from callctl.calls.call import Direction
    from callctl.operations.reported_status import reported_leg

    leg = reported_leg(reader.family(row.call_sid), row.call_sid)
    if leg is None:
        return row.status
    number = leg.from_ if leg.direction == Direction.INBOUND else leg.to
    return ", ".join(filter(None, (number, f"{leg.status} for {_age((now - leg.status_since).total_seconds())}")))


def _last_seen(row: CallRow, *, now: datetime) -> str:
    """Return the status of a call that has ended, and how old its last event is.

    Its events are not read: to import what reads them would take a fifth of the time of a Tab.
    """
    return f"{row.status} {_age((now - row.last_event_at).total_seconds())} ago"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _runtime(ctx: typer.Context) -> Runtime:
    runtime = ctx.find_root().obj
    return runtime if isinstance(runtime, Runtime) else Runtime.of_process()


def _settings(ctx: typer.Context) -> Settings | None:
    """Return the settings that the command line so far means, without a word about them."""
    from callctl.settings import load

    runtime = _runtime(ctx)
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


# zsh reads the file at the first Tab and takes its text for the function's: Typer's only defines another one.
_ANSWER = """
# This file is read at the first Tab, which is to be answered as well.
[[ ${funcstack[1]} == _callctl ]] && _callctl_completion "$@"
"""

# Typer's takes no notice of what bash completes for, and lets a description's characters match names of files.
_IN_BASH = f"""
# Where several calls are listed, each has its number, status and age beside it.
_callctl_completion() {{
    local IFS=$'\\n'
    mapfile -t COMPREPLY < <(env COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD="$COMP_CWORD" \\
        {LISTED_BY_BASH}="$COMP_TYPE" _CALLCTL_COMPLETE=complete_bash "$1")
    return 0
}}
"""


def complete_scripts(home: Path) -> None:
    """Complete the files that Typer wrote for zsh and bash, if it did."""
    for file, text in ((home / ".zfunc" / "_callctl", _ANSWER), (home / ".bash_completions" / "callctl.sh", _IN_BASH)):
        if file.is_file() and text not in (written := file.read_text(encoding="utf-8")):
            file.write_text(f"{written.rstrip()}\n{text}", encoding="utf-8")
