"""Whether incoming calls are reported here: the account's numbers, their URLs, and the request that would set them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from callctl.api.client import ApiClient
from callctl.api.resources import Application, PhoneNumber
from callctl.errors import CallctlError, without_secrets
from callctl.settings import Settings
from callctl.support.urls import one_spelling, without_user_and_fragment
from callctl.views.doctor_finding import Finding, fine, skipped, warning, wrong
from callctl.watch.listener.address import DOCUMENTS, base_of

_SHOWN = 5
_PATH = "/status"  # where it takes in callbacks, unless the public URL says otherwise
_PRINTED = f"{_PATH}#rc="  # the end of a URL that a watch has printed: its tunnel may be somebody else's by now


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listeners that run: their callback URLs, that to give to Twilio, and whether requests for TwiML go on there.

    ``forwarding`` has the callback URLs of all that pass requests on, the one to give to Twilio among them or not.
    ``without_twiml`` has those that answer requests for TwiML with 404, as far as that is known: each one's callback
    URL, and where it is.
    ``serves`` returns whether one of them has a document at a path of its host; None if that is not known.
    ``lost`` has why callbacks may be lost, for each callback URL where they may. ``dead`` has those of them through
    which nothing comes, and whether that is certain of Twilio's requests too. ``is_complete`` is whether all that
    listen are known: else a URL elsewhere may be that of another one.
    """

    callback_urls: Sequence[str]
    to_paste: str
    forwards: bool
    forwarding: Sequence[str] = ()
    without_twiml: Sequence[tuple[str, str]] = ()
    serves: Callable[[str], bool | None] = lambda _path: None
    lost: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, bool] = field(default_factory=dict)
    is_complete: bool = True

    def has(self, url: str) -> bool:
        """Return whether a URL is one at which callbacks are taken in: with an application behind it, at any path."""
        return any(is_same_url(url, own) for own in self.callback_urls) or bool(self._forwarding_at(url))

    def has_by_host_alone(self, url: str) -> bool:
        """Return whether a URL is one of ours only if all paths of its host lead here, which a proxy may not do."""
        own_paths = {_place(own)[:3] for own in (*self.callback_urls, self.to_paste)}
        return self.has(url) and _place(url)[:3] not in own_paths

    def leads_to(self, url: str, callback_urls: Collection[str]) -> bool:
        """Return whether a URL leads to a listener with one of these callback URLs, to a document or beside it too.

        A listener's own callback URL leads to no other one, though it may be below that of one that forwards.
        """
        if any(is_same_url(url, own) for own in callback_urls):
            return True
        if any(is_same_url(url, own) for own in (*self.callback_urls, *self.lost)):
            return False
        if nearest := self._forwarding_at(url):
            return any(is_same_url(forwarding, own) for forwarding in nearest for own in callback_urls)
        return is_of_document(url, tuple(callback_urls))

    def _forwarding_at(self, url: str) -> list[str]:
        """Return the callback URLs of those that forward and that a URL is beside, the longest path alone."""
        forwarding = [*([self.to_paste] if self.forwards else []), *self.forwarding]
        beside = [own for own in forwarding if _is_below(url, own)]
        longest = max((len(_base(own)) for own in beside), default=0)
        return [own for own in beside if len(_base(own)) == longest]

    def why_lost(self, url: str) -> str | None:
        """Return why what is sent to a URL may be lost, if it leads to a listener of which that is known."""
        return next((why for own, why in self.lost.items() if self.leads_to(url, [own])), None)

    def url_for(self, url: str, *, keeps_path: bool) -> str:
        """Return the URL here for an application's URL, with its query: that of callbacks, or at the same path."""
        own, parts = urlsplit(self.to_paste), _parts(url)
        base = urlsplit(base_of(self.to_paste, _PATH)).path
        path = parts.path.rstrip("/")
        is_taken = path in (own.path, f"{base}{_PATH}", "/healthz") or (
            path.startswith(DOCUMENTS) and self.serves(path) is True
        )
        if keeps_path and not is_taken:
            own = own._replace(path=base + (parts.path or "/"))
        return own._replace(query="&".join(filter(None, (own.query, parts.query)))).geturl()

    def refuses_twiml(self, url: str) -> bool:
        """Return whether a URL leads to a listener that has no TwiML to give there, so that each call to it fails."""
        if self.is_of_document(url):
            return self.serves(_parts(url).path) is False
        silent = self.without_twiml_at(url)
        return bool(silent) and len(silent) == sum(is_same_url(url, own) for own in self.callback_urls)

    def without_twiml_at(self, url: str) -> list[str]:
        """Return where those listeners are, of the ones at this URL or beside it, that have no TwiML to give."""
        urls = [url, *self._forwarding_at(url)]
        return [where for own, where in self.without_twiml if any(is_same_url(each, own) for each in urls)]

    def is_of_document(self, url: str) -> bool:
        """Return whether a URL is one at which a listener may serve a document, unless it passes requests on there."""
        return not self.has(url) and is_of_document(url, self.callback_urls)

    def answers(self, url: str) -> bool:
        """Return whether a URL for TwiML leads here: it is that of callbacks, or that of a document that is served."""
        return self.has(url) or is_of_document(url, self.callback_urls)

    def has_but_for(self, url: str) -> str | None:
        """Return what alone keeps a URL from being one at which callbacks are taken in, in words; None if it is none.

        To http it is another request than to https: a redirect loses its form (docs/twilio.md, "Delivery").
        """
        if self.has(url):
            return None
        for own in self.callback_urls:
            (scheme, *place), (own_scheme, *own_place) = _place(url), _place(own)
            if place == own_place:
                if scheme == own_scheme:
                    return "with another user or password than the listener's"
                return f"by {scheme} where the listener's is {own_scheme}"
        return None

    @property
    def has_password(self) -> bool:
        """Whether the URL to give to Twilio holds a password."""
        return without_secrets(self.to_paste) != self.to_paste


@dataclass(frozen=True, slots=True)
class _Handled:
    """Numbers whose calls are handled alike, and the resource to change: one number, or an application of several."""

    numbers: tuple[str, ...]
    by: PhoneNumber | Application
    resource: str
    application: str = ""

    @property
    def name(self) -> str:
        """How it is called in sentences."""
        named = ", ".join(self.numbers)
        return f"{named} (application {self.application})" if self.application else named


def number_findings(
    settings: Settings,
    open_client: Callable[[Settings], ApiClient],
    *,
    numbers: Sequence[PhoneNumber],
    listeners: Listeners,
) -> Iterator[Finding]:
    """Yield a warning for each number of which not all is reported here, one line for all others, and what is unknown.

    Unknown are those that lead to a listener whose callbacks may be lost: nothing is to be sent to it.

    The number's status callback reports the end of a call. That it rings is seen only where the request for its
    TwiML comes here as well (docs/twilio.md, "Numbers and applications"). Calls of a trunk have neither.

    Args:
        settings: The settings.
        open_client: Returns the API client for settings with credentials.
        numbers: The account's numbers.
        listeners: Those that run.
    """
    client = open_client(settings)
    handled, unknown = _handled(client, numbers)
    for each in handled:
        url = each.by.voice_url
        if _fails(each, lambda url: listeners.leads_to(url, listeners.dead)):
            yield _unreached(each, listeners)
        elif _fails(each, listeners.refuses_twiml):
            hint = "start it with --forward-to and your application's URL, or set the voice URL back to that"
            is_document = listeners.is_of_document(url)
            if is_document:
                hint = f"start it with --serve {_document(url)}=FILE, or set another voice URL"
            where = "the listener, which has no TwiML to give there"
            yield _failing(each, where, hint=hint, may_be_elsewhere=is_document)
        elif (silent := listeners.without_twiml_at(url)) and not listeners.refuses_twiml(url):
            what = (
                f"calls of {each.name} fail, or begin with its fallback: of the listeners at its voice URL some have "
                f"no TwiML to give there: {', '.join(silent)}"
            )
            fix = "start all of them with the same --forward-to, or give the others another public URL"
            yield warning("number", what, fix=fix, numbers=list(each.numbers))
    keeps_path = len({path for each in handled if (path := _document_path(each, listeners)) is not None}) > 1
    judged, unjudged = _judged(handled, listeners, keeps_path=keeps_path)
    faults = [(each, changes) for each, changes in judged if changes]
    for each, changes in faults[:_SHOWN]:
        command = _command(settings, each.resource, changes)
        fix = _fix(each, changes, listeners)
        yield warning("number", _unreported(each, listeners), fix=fix, numbers=list(each.numbers), command=command)
    if len(faults) > _SHOWN:
        rest = [number for each, _ in faults[_SHOWN:] for number in each.numbers]
        what = f"{len(rest)} more numbers, of which not all is reported here: {', '.join(rest[:_SHOWN])} …"
        yield warning("number", what, fix="set them in the same way", numbers=rest)
    well = [each for each, changes in judged if not changes]
    if well:
        reported = [number for each in well for number in each.numbers]
        is_seen = listeners.forwards or all(listeners.answers(each.by.voice_url) for each in well)
        ring = "" if is_seen else "; that they ring is seen only with `--forward-to` or `--serve`"
        urls = [url for each in well for url in (each.by.status_callback, each.by.voice_url)]
        by_host = next((url for url in urls if listeners.has_by_host_alone(url)), None)
        where = f"here{ring}"
        if by_host is not None:
            where = f"here, if {without_secrets(by_host)} leads to the listener, as its host does{ring}"
        yield fine("numbers", f"of {_count(len(reported))} the end of calls is reported {where}", numbers=reported)
    for why, numbers_so in unjudged.items():
        yield _unknown(numbers_so, why)
    yield from unknown


def _judged(
    handled: Sequence[_Handled], listeners: Listeners, *, keeps_path: bool
) -> tuple[list[tuple[_Handled, dict[str, str]]], dict[str, list[str]]]:
    """Return what to set, and by reason the numbers of which that is not known.

    They lead to a listener whose callbacks may be lost, or would, or may lead to one that could not be looked for.
    """
    judged = []
    unjudged: dict[str, list[str]] = {}
    for each in handled:
        changes = _changes(each, listeners, keeps_path=keeps_path)
        urls = (each.by.status_callback, each.by.voice_url, *([listeners.to_paste] if changes else []))
        why = next((why for url in urls if (why := listeners.why_lost(url)) is not None), None)
        if why is None and changes and not listeners.is_complete:
            why = "who else listens is not known, see above"
        if why is None:
            judged.append((each, changes))
        else:
            unjudged.setdefault(why, []).extend(each.numbers)
    return judged, unjudged


def _unreached(handled: _Handled, listeners: Listeners) -> Finding:
    """Return that calls fail whose voice URL leads to a listener that nothing comes through to."""
    hint = "see that its address leads to it again, or set another voice URL"
    url = handled.by.voice_url
    is_certain = any(is_known and listeners.leads_to(url, [own]) for own, is_known in listeners.dead.items())
    if is_certain:
        where = "the listener, to which nothing comes through"
        may_be_elsewhere = listeners.is_of_document(url) or listeners.has_by_host_alone(url)
        return _failing(handled, where, hint=hint, may_be_elsewhere=may_be_elsewhere)
    what = f"the calls of {handled.name} fail if nothing comes through to the listener from Twilio either"
    return warning("number", what, fix=hint, numbers=list(handled.numbers))


def unanswered_findings(
    settings: Settings,
    open_client: Callable[[Settings], ApiClient],
    *,
    numbers: Sequence[PhoneNumber],
    callback_url: str,
) -> Iterator[Finding]:
    """Yield a fault for each number whose voice URL is that of a listener, where it is known that none runs."""
    handled, _ = _handled(open_client(settings), numbers)

    def leads_there(url: str) -> bool:
        return is_same_url(url, callback_url) or is_of_document(url, [callback_url])

    for each in handled:
        if _fails(each, leads_there):
            hint = "start it with what its calls need, --forward-to or --serve, or set the voice URL back"
            is_document = is_of_document(each.by.voice_url, [callback_url])
            yield _failing(each, "the public URL, where no listener runs", hint=hint, may_be_elsewhere=is_document)


def _fails(handled: _Handled, refuses: Callable[[str], bool]) -> bool:
    """Return whether the calls of numbers get no TwiML; ``refuses`` returns whether there is none at a URL."""
    fallback = handled.by.voice_fallback_url
    return refuses(handled.by.voice_url) and (not fallback or refuses(fallback))


def _failing(handled: _Handled, where: str, *, hint: str, may_be_elsewhere: bool) -> Finding:
    """Return that calls fail. Whether the path of a document leads to the listener is for a proxy in front to say."""
    if may_be_elsewhere:
        what = f"the calls of {handled.name} fail if {without_secrets(handled.by.voice_url)} leads to {where}"
        return warning("number", what, fix=hint, numbers=list(handled.numbers))
    return wrong("number", CallctlError(f"the calls of {handled.name} fail: the voice URL leads to {where}", hint=hint))


def _document(url: str) -> str:
    return shlex.quote(_parts(url).path.rstrip("/").rpartition("/")[2])


def _document_path(handled: _Handled, listeners: Listeners) -> str | None:
    """Return at which path of an application calls are answered; None where that is not known.

    Where the listener is requested in its place, the fallback is the application's URL, as ``doctor`` has it set.
    """
    for url in (handled.by.voice_url, handled.by.voice_fallback_url):
        if url and not listeners.answers(url):
            return None if _PRINTED in url or listeners.has_but_for(url) else _parts(url).path
    return None


def _handled(client: ApiClient, numbers: Sequence[PhoneNumber]) -> tuple[list[_Handled], list[Finding]]:
    """Return what handles the calls of numbers, their own URLs or an application's, and what could not be read of it.

    Calls of a trunk are handled by neither.
    """
    handled: list[_Handled] = []
    of_applications: dict[str, list[str]] = {}
    for number in numbers:
        if number.trunk_sid:
            continue
        if number.application_sid:
            of_applications.setdefault(number.application_sid, []).append(number.number)
        else:
            handled.append(_Handled((number.number,), number, client.phone_number_url(number.sid)))
    if not of_applications:
        return handled, []
    try:
        applications = {application.sid: application for application in client.applications()}
    except CallctlError as error:
        named = [number for each in of_applications.values() for number in each]
        return handled, [_unknown(named, "the applications can't be read", error)]
    unknown = []
    for sid, named in of_applications.items():
        if (application := applications.get(sid)) is None:
            unknown.append(_unknown(named, f"the account shows no application {sid}"))
        else:
            handled.append(_Handled(tuple(named), application, client.application_url(sid), sid))
    return handled, unknown


def _unknown(numbers: Sequence[str], why: str, error: CallctlError | None = None) -> Finding:
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    text = f"not checked: {', '.join(numbers[:_SHOWN])}{more}: {why}"
    return skipped("numbers", text, error=error, numbers=list(numbers))


def _changes(handled: _Handled, listeners: Listeners, *, keeps_path: bool) -> dict[str, str]:
    """Return what to set: the status callback, and the voice URL where requests for TwiML are passed on.

    With ``keeps_path`` the voice URL keeps its path: numbers have different documents of one application.

    The voice URL's method stays: the application behind it may answer no other one. Its own URL is requested where the
    listener fails or is gone, unless the number has another one for that; one with a password is left out.
    """
    changes: dict[str, str] = {}
    if not listeners.has(handled.by.status_callback):
        changes |= {"StatusCallback": listeners.to_paste, "StatusCallbackMethod": "POST"}
    if listeners.forwards and handled.by.voice_url and not listeners.answers(handled.by.voice_url):
        url = handled.by.voice_url
        is_application = _PRINTED not in url and not listeners.has_but_for(url)
        changes["VoiceUrl"] = listeners.url_for(url, keeps_path=keeps_path) if is_application else listeners.to_paste
        if is_application and not handled.by.voice_fallback_url and without_secrets(url) == url:
            changes["VoiceFallbackUrl"] = url
            if handled.by.voice_method:
                changes["VoiceFallbackMethod"] = handled.by.voice_method
    return changes


def _unreported(handled: _Handled, listeners: Listeners) -> str:
    parts = []
    if not listeners.has(handled.by.status_callback):
        goes = _goes(handled.by.status_callback, listeners) if handled.by.status_callback else "is not set"
        parts.append(f"the end of calls is not reported here: its status callback {goes}")
    if not listeners.answers(handled.by.voice_url):
        goes = _goes(handled.by.voice_url, listeners) if handled.by.voice_url else "is not set: its calls fail"
        parts.append(f"that they ring is not seen: its voice URL {goes}")
    return f"{handled.name}: {'; '.join(parts)}"


def _goes(url: str, listeners: Listeners) -> str:
    but = listeners.has_but_for(url)
    return f"goes to {without_secrets(url)}{'' if but is None else f', {but}'}"


def _fix(handled: _Handled, changes: Mapping[str, str], listeners: Listeners) -> str:
    """Return what the request does: it names each URL that is replaced, and says what becomes of it."""
    parts = ["this sets both" if {"StatusCallback", "VoiceUrl"} <= changes.keys() else "this sets it"]
    if "VoiceUrl" in changes and not listeners.has_but_for(handled.by.voice_url):
        path, replaced = urlsplit(changes["VoiceUrl"]).path, handled.by.voice_url
        at_path = "" if path == urlsplit(listeners.to_paste).path else f", at its path {path}"
        same = "" if _PRINTED in replaced else ", so that must be the same application"
        parts.append(f"its calls are then answered by what --forward-to names{at_path}, in place of {replaced}{same}")
    if "VoiceFallbackUrl" in changes:
        parts.append(
            "where the listener is gone, or any document of a call fails, Twilio requests the application itself anew "
            "(VoiceFallbackUrl)"
        )
    replaced = handled.by.status_callback if "StatusCallback" in changes else ""
    if replaced and not listeners.has_but_for(replaced):
        instead = "" if _PRINTED in replaced else _instead(listeners)  # no application is there
        parts.append(f"Twilio then no longer requests {replaced}{instead}")
        if handled.by.status_callback_method == "GET":
            parts.append("callbacks come by POST then, not by GET")
    if listeners.has_password:
        parts.append("the command holds the public URL's password in clear")
    return "; ".join(parts)


def _instead(listeners: Listeners) -> str:
    """Return how an application gets the callbacks whose URL is replaced."""
    if listeners.forwards:
        return (
            ": the callbacks go to what --forward-to names; a further `--forward-to` with that URL gets them too, and "
            "every other request"
        )
    return "; with `--forward-to` and that URL the listener passes callbacks on"


def _command(settings: Settings, url: str, changes: Mapping[str, str]) -> str:
    """Return the request as one types it; the account's secrets stay in the environment, or the shell says so.

    A password in the callback URL is shown, since the request would set asterisks in its place.
    """
    names = ("API_KEY", "API_SECRET") if settings.api_key else ("ACCOUNT_SID", "AUTH_TOKEN")
    user = ":".join(f"${{TWILIO_{name}:?}}" for name in names)
    pairs = " ".join(f"--data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in changes.items())
    return f'curl -u "{user}" {shlex.quote(url)} {pairs}'


def is_same_url(url: str, own: str) -> bool:
    """Return whether Twilio sends the same request to both: a fragment and another spelling make no difference."""
    return (_place(url), _user(url)) == (_place(own), _user(own))


def is_of_document(url: str, callback_urls: Sequence[str]) -> bool:
    """Return whether a URL is one at which a listener with one of these callback URLs may serve a document."""
    return any(
        _origin(url) == _origin(own) and _parts(url).path.startswith(_parts(base_of(own, _PATH)).path + DOCUMENTS)
        for own in callback_urls
    )


def _place(url: str) -> tuple[str, str, str, str]:
    parts = _parts(url)
    return parts.scheme, parts.netloc, parts.path.rstrip("/"), parts.query


def _is_below(url: str, callback_url: str) -> bool:
    """Return whether a URL is beside a callback URL: a proxy may route no other path of the host to a listener."""
    return _origin(url) == _origin(callback_url) and _parts(url).path.startswith(f"{_base(callback_url)}/")


def _base(callback_url: str) -> str:
    return _parts(base_of(callback_url, _PATH)).path.rstrip("/")


def _origin(url: str) -> tuple[str, str, tuple[str, str]]:
    parts = _parts(url)
    return parts.scheme, parts.netloc, _user(url)


def _parts(url: str) -> SplitResult:
    """Return the parts of a URL as they are compared, without a user; all are empty where it can't be parsed."""
    try:
        return urlsplit(one_spelling(without_user_and_fragment(url)))
    except ValueError:
        return urlsplit("")


def _user(url: str) -> tuple[str, str]:
    """Return user and password with which Twilio signs in at a URL. They are compared, and never shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return unquote(parts.username or ""), unquote(parts.password or "")


def _count(number: int) -> str:
    return f"{number} number{'' if number == 1 else 's'}"
