"""What a call shall do, from ``--url``, ``--twiml``, ``--say`` or ``--dial``: exactly one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from callctl.addresses import why_unreachable
from callctl.calls import EVENT_NAMES, is_e164, is_endpoint
from callctl.cli import completing
from callctl.cli.runtime import Runtime, read_text
from callctl.cli.times import read_duration
from callctl.errors import UsageError
from callctl.settings import NamedUrl, Settings

Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="NAME|URL",
        autocompletion=completing.url_names,
        help="TwiML from this URL; NAME stands for CALLCTL_URL_<NAME>.",
    ),
]
Twiml: TypeAlias = Annotated[
    str | None, typer.Option("--twiml", metavar="XML|@FILE|-", help="This TwiML, at most 4,000 characters.")
]
Say: TypeAlias = Annotated[str | None, typer.Option("--say", metavar="TEXT", help="Say this, then hang up.")]
Dial: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--dial",
        metavar="DEST",
        help="Connect to a number, sip:… or client:…; repeat to ring several, the first to answer wins.",
    ),
]
Method: TypeAlias = Annotated[
    str | None, typer.Option("--method", metavar="GET|POST", help="How Twilio fetches --url (POST unless told).")
]
FallbackUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--fallback-url",
        metavar="NAME|URL",
        autocompletion=completing.url_names,
        help="TwiML from here if --url can't be fetched or run.",
    ),
]
AddCallbacks: TypeAlias = Annotated[
    bool,
    typer.Option("--add-callbacks", help="Have the legs that --twiml dials report: add statusCallback to its nouns."),
]
Then: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--then",
        metavar="NAME|URL",
        autocompletion=completing.url_names,
        help="With --dial: where the call goes when the Dial is over. Twilio asks it with every DialCallStatus, busy "
        "and no-answer included, so a survey must look for completed.",
    ),
]
DialTimeout: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--dial-timeout",
        metavar="DURATION",
        help="With --dial: Twilio's ring limit for the destinations (30 s unless told, at most 10 min).",
    ),
]
CallerId: TypeAlias = Annotated[
    str | None, typer.Option("--caller-id", metavar="NUMBER", help="With --dial: what the destinations see.")
]
Sequential: TypeAlias = Annotated[
    bool, typer.Option("--sequential", help="With --dial: ring the destinations in turn, not all at once.")
]

# Seconds; that of <Dial> is not documented, and taken to be that of a call (OAS, Timeout).
LONGEST_RINGING = 600
# What may stand for the caller where nobody is called by number (sheet section 1, SIP caller ids).
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
class Instructions:
    """What Twilio is told to run: the address of a document, or the document."""

    url: str | None = None
    method: str | None = None
    twiml: str | None = None


def read_instructions(
    runtime: Runtime,
    settings: Settings,
    *,
    url: str | None,
    twiml: str | None,
    say: str | None,
    dial: Sequence[str] | None,
    method: str | None,
    callback: str | None,
    add_callbacks: bool = False,
    dialing: DialOptions | None = None,
) -> Instructions:
    """Turn the four options into one instruction; legs of ``--dial`` report to ``callback``.

    So do those of ``--twiml`` with ``add_callbacks``; without it, those that will be silent are told of on stderr.

    Raises:
        UsageError: None or more than one of the four is given, or the one given can't work; or options that don't
            go with it are given.
    """
    dialing = dialing or DialOptions()
    given = {"--url": url, "--twiml": twiml, "--say": say, "--dial": dial or None}
    named = [option for option, value in given.items() if value is not None]
    if len(named) != 1:
        what = f"{' and '.join(named)} exclude each other" if named else "nothing tells what the call shall do"
        raise UsageError(what, hint="give exactly one of --url, --twiml, --say, --dial")
    if method is not None and url is None:
        raise UsageError(f"--method goes with --url, not with {named[0]}")
    if not dial and (option := dialing.first_given()):
        raise UsageError(f"{option} goes with --dial, not with {named[0]}")
    if add_callbacks and twiml is None:
        raise UsageError(f"--add-callbacks goes with --twiml, not with {named[0]}")
    if url is not None:
        return _from_url(settings, url, method=method)
    if twiml is not None:
        document = read_text(runtime, twiml, option="--twiml")
        return Instructions(twiml=_reporting(document, callback) if add_callbacks else _warned(runtime, document))
    if say is not None:
        return _from_say(say)
    return _from_dial(settings, dial or [], callback=callback, options=dialing)


def read_fallback(settings: Settings, text: str | None) -> NamedUrl:
    """Return the address that ``--fallback-url`` names, with its method if it has one; an empty one for None.

    Raises:
        UsageError: It is no URL and no name of one, or the API can't reach it.
    """
    if text is None:
        return NamedUrl("")
    named = settings.named_url(text)
    check_reachable(settings, named.url, what=f"--fallback-url {text}")
    return named


def _from_url(settings: Settings, text: str, *, method: str | None) -> Instructions:
    named = settings.named_url(text)
    check_reachable(settings, named.url, what=f"--url {text}")
    return Instructions(url=named.url, method=check_method(method) or named.method)


def _warned(runtime: Runtime, document: str) -> str:
    """Return a document as it is, having warned of the legs that nobody will hear of."""
    from callctl.twiml import legs_without_callbacks

    silent = legs_without_callbacks(document)
    if silent:
        legs, their = ("a leg", "it") if silent == 1 else (f"{silent} legs", "them")
        runtime.say(
            f"callctl: warning: the TwiML dials {legs} without statusCallback: no events will come of {their}\n"
            "hint: --add-callbacks adds it"
        )
    return document


def _reporting(document: str, callback: str | None) -> str:
    from callctl.twiml import add_callbacks

    if callback is None:
        raise UsageError(
            "--add-callbacks has no URL to add",
            hint="start `callctl watch` first, set CALLCTL_PUBLIC_URL, or give --status-callback URL",
        )
    return add_callbacks(document, callback)


def _from_say(text: str) -> Instructions:
    from callctl.twiml import check, say

    if not text.strip():
        raise UsageError("--say needs a text")
    document = say(text)
    check(document)
    return Instructions(twiml=document)


def _from_dial(
    settings: Settings, destinations: Sequence[str], *, callback: str | None, options: DialOptions
) -> Instructions:
    from callctl.twiml import check, dial

    for destination in destinations:
        check_endpoint(destination, what="--dial")
    then = settings.named_url(options.then) if options.then is not None else None
    if then is not None:
        check_reachable(settings, then.url, what=f"--then {options.then}")
    document = dial(
        destinations,
        status_callback=callback,
        events=options.events,
        action=then.url if then else None,
        method=then.method if then else None,
        timeout=read_ring_limit(options.timeout, option="--dial-timeout"),
        caller_id=_checked_caller_id(options.caller_id, destinations),
        sequential=options.sequential or None,
    )
    check(document)
    return Instructions(twiml=document)


def _checked_caller_id(text: str | None, destinations: Sequence[str]) -> str | None:
    if text is None or is_e164(text):
        return text
    # Who is called by number sees a number; clients and SIP phones may see a name.
    if not any(is_e164(destination) for destination in destinations) and (
        is_endpoint(text) or _CALLER_ID.fullmatch(text)
    ):
        return text
    raise UsageError(f"--caller-id is not a number in E.164 form: {text}", hint="such as +15005550006")


def read_ring_limit(text: str | None, *, option: str) -> int | None:
    """Return how long a phone may ring, in whole seconds, or None where it is left to Twilio.

    Raises:
        UsageError: It is no duration, or one that Twilio does not take.
    """
    return read_seconds(text, option=option, longest=LONGEST_RINGING)


def read_seconds(text: str | None, *, option: str, longest: int | None = None) -> int | None:
    """Return a duration as the API takes it, in whole seconds from 1 on; None for None.

    Raises:
        UsageError: It is no duration, not a whole number of seconds, or out of range.
    """
    if text is None:
        return None
    seconds = read_duration(text, option=option)
    if seconds < 1 or seconds != int(seconds) or (longest is not None and seconds > longest):
        most = f"1 to {longest}" if longest is not None else "1 or more"
        raise UsageError(f"{option} is out of range: {text}", hint=f"whole seconds, {most}")
    return int(seconds)


def check_method(method: str | None) -> str | None:
    """Return GET or POST in Twilio's spelling, or None when nothing was given.

    Raises:
        UsageError: It is another method.
    """
    if method is None or method.upper() in ("GET", "POST"):
        return method.upper() if method else None
    raise UsageError(f"--method is GET or POST, not {method}")


def check_endpoint(text: str, *, what: str) -> str:
    """Return a destination if a call can go there.

    Raises:
        UsageError: It is no E.164 number, SIP address or client name.
    """
    if is_endpoint(text):
        return text
    raise UsageError(
        f"{what}: not a number, SIP address or client: {text}",
        hint="write a number in E.164 form (+12025550100), sip:user@example.com or client:name",
    )


def check_reachable(settings: Settings, url: str, *, what: str) -> None:
    """Refuse a URL that the API could not reach; an API on loopback reaches everything that this machine does.

    Raises:
        UsageError: The URL is loopback, private, or has a host Twilio refuses.
    """
    reason = None if settings.is_loopback else why_unreachable(url)
    if reason:
        raise UsageError(
            f"{what}: {settings.api_url} can't reach {url}: {reason}",
            hint="give a public address, for example that of a tunnel",
        )
