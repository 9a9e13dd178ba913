"""What a call shall do, from ``--url``, ``--twiml``, ``--say`` or ``--dial``: exactly one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from callctl.addresses import why_unreachable
from callctl.calls import is_endpoint
from callctl.cli.runtime import Runtime, read_text
from callctl.errors import UsageError
from callctl.settings import Settings

Url: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", metavar="NAME|URL", help="TwiML from this URL; NAME stands for CALLCTL_URL_<NAME>."),
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
) -> Instructions:
    """Turn the four options into one instruction; legs of ``--dial`` report to ``callback``.

    Raises:
        UsageError: None or more than one of them is given, or the one given can't work.
    """
    given = {"--url": url, "--twiml": twiml, "--say": say, "--dial": dial or None}
    named = [option for option, value in given.items() if value is not None]
    if len(named) != 1:
        what = f"{' and '.join(named)} exclude each other" if named else "nothing tells what the call shall do"
        raise UsageError(what, hint="give exactly one of --url, --twiml, --say, --dial")
    if method is not None and url is None:
        raise UsageError(f"--method goes with --url, not with {named[0]}")
    if url is not None:
        return _from_url(settings, url, method=method)
    if twiml is not None:
        return _from_twiml(read_text(runtime, twiml, option="--twiml"))
    if say is not None:
        return _from_say(say)
    return _from_dial(dial or [], callback=callback)


def _from_url(settings: Settings, text: str, *, method: str | None) -> Instructions:
    named = settings.named_url(text)
    check_reachable(settings, named.url, what=f"--url {text}")
    return Instructions(url=named.url, method=check_method(method) or named.method)


def _from_twiml(text: str) -> Instructions:
    from callctl.twiml import check

    check(text)
    return Instructions(twiml=text)


def _from_say(text: str) -> Instructions:
    from callctl.twiml import check, say

    if not text.strip():
        raise UsageError("--say needs a text")
    document = say(text)
    check(document)
    return Instructions(twiml=document)


def _from_dial(destinations: Sequence[str], *, callback: str | None) -> Instructions:
    from callctl.twiml import check, dial

    for destination in destinations:
        check_endpoint(destination, what="--dial")
    document = dial(destinations, status_callback=callback)
    check(document)
    return Instructions(twiml=document)


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
