"""How ``--dial`` dials: its options, and the TwiML that they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from callctl.calls.call import EVENT_NAMES, is_e164, is_endpoint
from callctl.cli.options import completion
from callctl.cli.options.checks import check_endpoint, check_reachable, read_ring_limit
from callctl.cli.options.common import DIALLING
from callctl.errors import UsageError
from callctl.settings import NamedUrl, Settings

Then: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--then",
        metavar="NAME|URL",
        autocompletion=completion.url_names,
        help="Where the call goes when the Dial is over.\n\n"
        "Twilio asks it with every DialCallStatus, busy and no-answer included, so a survey must look for completed.",
        rich_help_panel=DIALLING,
    ),
]
DialTimeout: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--dial-timeout",
        metavar="DURATION",
        help="Twilio's ring limit for DEST: 30s unless told.\n\n"
        "How long each destination may ring, at most 10m. How long TO may ring is --ring-timeout.",
        rich_help_panel=DIALLING,
    ),
]
CallerId: TypeAlias = Annotated[
    str | None,
    typer.Option("--caller-id", metavar="NUMBER", help="What the destinations see.", rich_help_panel=DIALLING),
]
Sequential: TypeAlias = Annotated[
    bool, typer.Option("--sequential", help="Ring the destinations in turn, not all at once.", rich_help_panel=DIALLING)
]

# What may stand for the caller where nobody is called by number (docs/twilio.md, "Addresses").
_CALLER_ID = re.compile(r"[A-Za-z0-9+._-]+")


@dataclass(frozen=True, slots=True)
class DialOptions:
    """How ``--dial`` dials, as it stands on the command line; None and False leave it to Twilio."""

    then: str | None = None
    timeout: str | None = None
    caller_id: str | None = None
    sequential: bool = False
    events: Sequence[str] = EVENT_NAMES

    def first_given(self) -> str | None:
        """Return the first of these options that was given, or None."""
        given = {
            "--then": self.then is not None,
            "--dial-timeout": self.timeout is not None,
            "--caller-id": self.caller_id is not None,
            "--sequential": self.sequential,
        }
        return next((option for option, is_given in given.items() if is_given), None)


@dataclass(frozen=True, slots=True)
class Dialled:
    """What ``--dial`` and its options stand for, checked; ``timeout`` is in seconds."""

    destinations: tuple[str, ...]
    then: NamedUrl | None
    timeout: int | None
    caller_id: str | None
    sequential: bool
    events: Sequence[str]

    def document(self, callback: str | None) -> str:
        """Return the TwiML; its legs report to ``callback``.

        Raises:
            UsageError: There are too many destinations, or the document would be too long.
        """
        from callctl.calls.twiml import check, dial

        document = dial(
            self.destinations,
            status_callback=callback,
            events=self.events,
            action=self.then.url if self.then else None,
            method=self.then.method if self.then else None,
            timeout=self.timeout,
            caller_id=self.caller_id,
            sequential=self.sequential or None,
        )
        check(document)
        return document


def read_dial(settings: Settings, destinations: Sequence[str], *, options: DialOptions) -> Dialled:
    """Read ``--dial`` and its options.

    Raises:
        UsageError: One can't work.
    """
    for destination in destinations:
        check_endpoint(destination, what="--dial")
    then = settings.named_url(options.then) if options.then is not None else None
    if then is not None:
        check_reachable(settings, then.url, what=f"--then {options.then}")
    dialled = Dialled(
        tuple(destinations),
        then,
        read_ring_limit(options.timeout, option="--dial-timeout"),
        _checked_caller_id(options.caller_id, destinations),
        options.sequential,
        options.events,
    )
    dialled.document(None)  # whatever is wrong with it without a callback is wrong with it anyway
    return dialled


def _checked_caller_id(text: str | None, destinations: Sequence[str]) -> str | None:
    if text is None or is_e164(text):
        return text
    # Who is called by number sees a number; clients and SIP phones may see a name.
    if not any(is_e164(destination) for destination in destinations) and (
        is_endpoint(text) or _CALLER_ID.fullmatch(text)
    ):
        return text
    raise UsageError(f"--caller-id is not a number in E.164 form: {text}", hint="such as +15005550006")
