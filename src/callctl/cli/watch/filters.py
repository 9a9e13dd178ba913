"""The options of ``watch`` that choose what it shows. The store, the rules and the counters see everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from callctl.calls.call import CallStatus
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import common, completion
from callctl.cli.options.checks import check_party
from callctl.cli.options.common import SHOW
from callctl.errors import UsageError
from callctl.settings import Settings

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter

_STATUSES = tuple(status.value for status in CallStatus)

Call: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--call",
        metavar="CALL",
        help="Show only this call's family.\n\nIts SID, a start of it, or @last.",
        autocompletion=completion.call_sids,
        rich_help_panel=SHOW,
    ),
]
To: TypeAlias = Annotated[
    str | None,
    typer.Option("--to", metavar="TO", help="Show only legs to exactly this.", rich_help_panel=SHOW),
]
From: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", metavar="FROM", help="Show only legs from exactly this.", rich_help_panel=SHOW),
]
Status: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        autocompletion=completion.statuses,
        help=f"Show only legs with it; repeat it for several.\n\n{', '.join(_STATUSES)}.",
        rich_help_panel=SHOW,
    ),
]


def read_filter(
    runtime: Runtime,
    settings: Settings,
    *,
    call: str | None,
    to: str | None,
    from_: str | None,
    status: Sequence[str] | None,
) -> CallFilter | None:
    """Turn the options into a filter; None if everything is shown.

    Raises:
        UsageError: A status is none, no call has an end written so, or the call can be no SID and no start of one.
        UnknownCallError: No call begins with it, or none was placed.
    """
    from callctl.calls.filter import CallFilter

    named = common.words_in(status or ())
    unknown = next((word for word in named if word not in _STATUSES), None)
    if unknown is not None or (status and not named):
        raise UsageError(f"no such status: {unknown or common.EMPTY}", hint=f"one of {', '.join(_STATUSES)}")
    for option, party in (("--to", to), ("--from", from_)):
        if party is not None:
            check_party(party, what=option)
    sid = None if call is None else _whole(runtime, settings, call)
    call_filter = CallFilter(family_of=sid, to=to, from_=from_, statuses=tuple(dict.fromkeys(named)))
    return call_filter if call_filter.in_words else None


def _whole(runtime: Runtime, settings: Settings, call: str) -> str:
    from callctl.cli.options.calls import is_whole, one_call

    # A whole one needs no request, so that the settings need no credentials.
    return call if is_whole(call) else one_call(runtime, settings, runtime.client(settings), call)
