"""What a call shall do: exactly one of ``--url``, ``--twiml``, ``--say``, ``--dial`` and ``--conference``; and how."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from callctl.calls.call import EVENT_NAMES, is_e164, is_endpoint
from callctl.cli.io.runtime import Runtime, read_text
from callctl.cli.options import completion
from callctl.cli.options.checks import check_endpoint, check_method, check_reachable, read_ring_limit
from callctl.cli.options.common import DIALLING, INSTRUCTIONS
from callctl.errors import UsageError
from callctl.settings import NamedUrl, Settings

Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="NAME|URL",
        autocompletion=completion.url_names,
        help="TwiML from this URL, or from CALLCTL_URL_<NAME>.",
        rich_help_panel=INSTRUCTIONS,
    ),
]
Twiml: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--twiml",
        metavar="XML|@FILE|-",
        help="This TwiML, at most 4,000 characters.",
        rich_help_panel=INSTRUCTIONS,
    ),
]
Say: TypeAlias = Annotated[
    str | None, typer.Option("--say", metavar="TEXT", help="Say this, then hang up.", rich_help_panel=INSTRUCTIONS)
]
Dial: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--dial",
        metavar="DEST",
        help="Connect to a number, sip:… or client:…; repeatable.\n\n"
        "Repeat it to ring several; the first to answer wins.",
        rich_help_panel=INSTRUCTIONS,
    ),
]
Conference: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--conference",
        metavar="ROOM",
        help="Into the conference of this name.\n\n"
        "It begins when a second call comes, and ends when the last one leaves. Where it reports who is in it, on hold "
        "and muted, the first to come decides.",
        rich_help_panel=INSTRUCTIONS,
    ),
]
Method: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="GET|POST",
        help="How Twilio fetches --url; POST unless set.",
        rich_help_panel=INSTRUCTIONS,
    ),
]
FallbackUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--fallback-url",
        metavar="NAME|URL",
        autocompletion=completion.url_names,
        help="TwiML from here if --url can't be fetched or run.",
        rich_help_panel=INSTRUCTIONS,
    ),
]
AddCallbacks: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--add-callbacks",
        help="Have the legs that --twiml dials report.\n\nIt adds statusCallback to the nouns of --twiml.",
        rich_help_panel=INSTRUCTIONS,
    ),
]
Then: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--then",
        metavar="NAME|URL",
        autocompletion=completion.url_names,
        help="Where the call goes when the Dial is over.\n\n"
        "Twilio requests it with every DialCallStatus, busy and no-answer included, so a survey must look for "
        "completed. Without it the call hangs up then, and can't be made a conference (redirect --family "
        "--conference). "
        "With --conference: when the call has left it; DialCallStatus is answered then.",
        rich_help_panel=DIALLING,
    ),
]
DialTimeout: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--dial-timeout",
        metavar="DURATION",
        help="Twilio's ring limit for DEST: 30s unless set.\n\n"
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
class Instructions:
    """What Twilio is to run: the address of a document, or the document."""

    url: str | None = None
    method: str | None = None
    twiml: str | None = None


@dataclass(frozen=True, slots=True)
class TwimlOptions:
    """What the options say, checked. A document is written when it is known where its legs report.

    ``dial_action`` is what ``--then`` says: where the call goes when its Dial is over.
    """

    url: str | None = None
    method: str | None = None
    document: Callable[[str | None], str] | None = None
    dial_action: str | None = None

    def with_callbacks_to(self, callback: str | None) -> Instructions:
        """Return the instruction whose legs report to ``callback``; says on stderr which send none.

        Raises:
            UsageError: There is no callback to add, or the document becomes too long by it.
        """
        return Instructions(self.url, self.method, self.document(callback) if self.document else None)


def read_twiml_options(
    runtime: Runtime,
    settings: Settings,
    *,
    url: str | None,
    twiml: str | None,
    say: str | None,
    dial: Sequence[str] | None,
    conference: str | None = None,
    method: str | None,
    add_callbacks: bool = False,
    dialing: DialOptions | None = None,
) -> TwimlOptions:
    """Read the options. Nothing is said, and no watch is looked for.

    Raises:
        UsageError: None or more than one of the first five is given, or the one given can't work; or options that don't
            go with it are given.
    """
    dialing = dialing or DialOptions()
    given = {"--url": url, "--twiml": twiml, "--say": say, "--dial": dial or None, "--conference": conference}
    named = [option for option, value in given.items() if value is not None]
    if len(named) != 1:
        what = f"{' and '.join(named)} exclude each other" if named else "nothing says what the call is to do"
        raise UsageError(what, hint="give exactly one of --url, --twiml, --say, --dial, --conference")
    if method is not None and url is None:
        raise UsageError(
            f"--method goes with --url, not with {named[0]}",
            hint="it says how Twilio fetches a URL; other TwiML goes along with the request",
        )
    if not dial and (option := dialing.first_given(in_conference=conference is not None)):
        raise UsageError(
            f"{option} goes with --dial, not with {named[0]}",
            hint="give --dial DEST, or --twiml with a <Dial> that says so",
        )
    if add_callbacks and twiml is None:
        raise UsageError(
            f"--add-callbacks goes with --twiml, not with {named[0]}",
            hint="--dial and --conference add them by themselves; TwiML from a URL names its statusCallback itself",
        )
    if url is not None:
        return _from_url(settings, url, method=method)
    if twiml is not None:
        document = _checked(read_text(runtime, twiml, option="--twiml"))
        return _reporting(document, dialing.events) if add_callbacks else _as_it_is(runtime, document)
    if say is not None:
        return _from_say(say)
    if conference is not None:
        return _from_conference(settings, conference, then=dialing.then)
    return TwimlOptions(document=read_dial(settings, dial or [], options=dialing).document, dial_action=dialing.then)


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


def _from_url(settings: Settings, text: str, *, method: str | None) -> TwimlOptions:
    named = settings.named_url(text)
    check_reachable(settings, named.url, what=f"--url {text}")
    return TwimlOptions(url=named.url, method=check_method(method) or named.method)


def _checked(text: str) -> str:
    """Return a user's document as it is sent.

    Raises:
        UsageError: Twilio can't run it.
    """
    from callctl.calls.twiml import check_inline, stripped

    document = stripped(text)
    check_inline(document)
    return document


def _as_it_is(runtime: Runtime, document: str) -> TwimlOptions:
    """Return a document as it is, with a warning of the legs without callbacks."""
    from callctl.calls.twiml import legs_without_callbacks

    unreported = legs_without_callbacks(document)

    def warned(_callback: str | None) -> str:
        if unreported:
            legs, their = ("a leg", "it") if unreported == 1 else (f"{unreported} legs", "them")
            runtime.say(
                f"callctl: warning: the TwiML dials {legs} without statusCallback: no events will come of {their}\n"
                "hint: --add-callbacks adds it"
            )
        return document

    return TwimlOptions(document=warned)


def _reporting(document: str, events: Sequence[str]) -> TwimlOptions:
    from callctl.calls.twiml import add_callbacks

    def added(callback: str | None) -> str:
        if callback is None:
            raise UsageError(
                "--add-callbacks has no URL to add",
                hint="start `callctl watch` or `listen` first, set CALLCTL_PUBLIC_URL, or give --status-callback URL",
            )
        return add_callbacks(document, callback, events=events)

    return TwimlOptions(document=added)


def _from_say(text: str) -> TwimlOptions:
    from callctl.calls.twiml import check, say

    if not text.strip():
        raise UsageError("--say needs a text", hint='such as --say "Hello"')
    document = say(text)
    check(document)
    return TwimlOptions(document=lambda _callback: document)


def _from_conference(settings: Settings, room: str, *, then: str | None) -> TwimlOptions:
    from callctl.calls.twiml import check, conference

    action = read_then(settings, then)

    def document(callback: str | None) -> str:
        text = conference(
            room,
            status_callback=callback,
            action=action.url if action else None,
            method=action.method if action else None,
        )
        check(text)
        return text

    document(None)  # whatever is wrong with it without a callback is wrong with it anyway
    return TwimlOptions(document=document, dial_action=then)


@dataclass(frozen=True, slots=True)
class DialOptions:
    """How ``--dial`` dials, as it is on the command line; None and False leave it to Twilio."""

    then: str | None = None
    timeout: str | None = None
    caller_id: str | None = None
    sequential: bool = False
    events: Sequence[str] = EVENT_NAMES

    def first_given(self, *, in_conference: bool = False) -> str | None:
        """Return the first of these options that was given, or None; in a conference but for ``--then``, which works.

        Source: docs/twilio.md, "Conferences".
        """
        given = {
            "--then": self.then is not None and not in_conference,
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


def read_then(settings: Settings, text: str | None) -> NamedUrl | None:
    """Return the address that ``--then`` names; None for None.

    Raises:
        UsageError: It is no URL and no name of one, or the API can't reach it.
    """
    if text is None:
        return None
    named = settings.named_url(text)
    check_reachable(settings, named.url, what=f"--then {text}")
    return named


def read_dial(settings: Settings, destinations: Sequence[str], *, options: DialOptions) -> Dialled:
    """Read ``--dial`` and its options.

    Raises:
        UsageError: One can't work.
    """
    for destination in destinations:
        check_endpoint(destination, what="--dial")
    then = read_then(settings, options.then)
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
