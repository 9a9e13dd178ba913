"""Whether incoming calls are reported here: the account's numbers, their URLs, and the request that would set them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import SplitResult, parse_qs, urlsplit

from callctl.api.client import ApiClient
from callctl.api.resources import Application, PhoneNumber
from callctl.doctor.spelling import (
    difference,
    is_at,
    is_same_origin,
    is_same_url,
    leads_to_same,
    respelled,
    signs_in,
    without_query,
)
from callctl.errors import CallctlError, without_secrets
from callctl.settings import Settings
from callctl.support.urls import one_spelling, with_fragment, without_user_and_fragment
from callctl.views.doctor_finding import Finding, fine, skipped, warning, wrong
from callctl.watch.listener.address import DOCUMENTS, base_of
from callctl.watch.registry.record import NO, YES, WatchRecord

_SHOWN = 5
_PATH = "/status"  # where it takes in callbacks, unless the public URL says otherwise
_RETRIES = "rc="  # how the fragment begins of each URL that a watch or `doctor` has printed


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listeners that run: their callback URLs, that to give to Twilio, and whether requests for TwiML go on there.

    ``forwarding`` has the callback URLs of all that pass requests on, the one to give to Twilio among them or not.
    ``without_twiml`` has those that answer requests for TwiML with 404, as far as that is known: each one's callback
    URL, and where it is.
    ``serves`` returns whether one of those that a document's URL leads to has it; None if that is not known.
    ``lacks`` returns whether a document is there that can't be given now, since its file is gone or is no TwiML.
    ``unverified`` has the callback URLs where no signature is checked, so that another spelling is accepted too.
    ``lost`` has why callbacks may be lost, for each callback URL where they may. ``dead`` has those of them through
    which nothing comes, and whether that is certain of Twilio's requests too. ``is_complete`` is whether all that
    listen are known: else a URL elsewhere may be that of another one.
    """

    callback_urls: Sequence[str]
    to_paste: str
    forwards: bool
    forwarding: Sequence[str] = ()
    without_twiml: Sequence[tuple[str, str]] = ()
    serves: Callable[[str], bool | None] = lambda _url: None
    lacks: Callable[[str], bool] = lambda _url: False
    unverified: Sequence[str] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, bool] = field(default_factory=dict)
    is_complete: bool = True
    _spelled: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, watches: Sequence[WatchRecord], *, retries: str) -> Listeners:
        """Return what the records say of those that run; the first one's URL is that to give to Twilio.

        Args:
            watches: The records, one at least.
            retries: The fragment with which Twilio tries again.
        """
        first = watches[0]
        verified = {each.callback_url for each in watches if each.verifies != NO}
        return cls(
            [each.callback_url for each in watches],
            with_fragment(first.callback_url, retries),
            forwards=first.forwards == YES,
            forwarding=[each.callback_url for each in watches if each.forwards == YES],
            without_twiml=[(each.callback_url, each.where) for each in watches if each.forwards == NO],
            unverified=[each.callback_url for each in watches if each.callback_url not in verified],
        )

    def has(self, url: str) -> bool:
        """Return whether a URL is one at which callbacks are taken in: with an application behind it, at any path."""
        here = self._accepted(url)
        return any(is_at(here, own) for own in self.callback_urls) or bool(self._forwarding_at(here))

    def spelled(self, url: str) -> str:
        """Return a URL that leads to a listener, or beside it, as that one spells it; any other one as it is."""
        if url not in self._spelled:  # it is needed again and again
            self._spelled[url] = self._as_spelled(url)
        return self._spelled[url]

    def _as_spelled(self, url: str) -> str:
        path, url = _parts(url).path, respelled(url, (*self.callback_urls, *self.lost, self.to_paste))
        if _parts(url).netloc and not path:  # signed as it was given; as of --public-url, the listener's URL is meant
            beside = self._forwarding_at(urlsplit(url)._replace(path="/").geturl())
            return _with_query_of(url, beside[0]) if beside else url
        # Beside a listener that forwards, a slash makes another path: the application's.
        if _parts(url).path != path:
            at_its_path = urlsplit(url)._replace(path=path).geturl()
            return at_its_path if self._forwarding_at(at_its_path) else url
        without_slash = urlsplit(url)._replace(path=_parts(url).path.rstrip("/")).geturl() if _is_slashed(url) else url
        is_document = not self._forwarding_at(url) and is_of_document(without_slash, self.callback_urls)
        return without_slash if is_document else url

    def is_misspelled(self, url: str) -> bool:
        """Return whether a URL leads to a listener that refuses what is sent there, since it is spelled otherwise."""
        return not self.answers(url) and self.answers(self.spelled(url))

    def corrected(self, url: str) -> str:
        """Return what to set in place of a URL that is spelled otherwise."""
        own = self.spelled(url)
        return self.to_paste if is_same_url(own, self.to_paste) and not urlsplit(own).fragment else own

    def _accepted(self, url: str) -> str:
        """Return a URL as the listener that it leads to spells it; none where that refuses its spelling."""
        own = self.spelled(url)
        takes_all = any(is_at(own, each) or is_of_document(own, [each]) for each in self.unverified)
        return own if own == url or (takes_all and _parts(url).path) else ""

    def has_by_host_alone(self, url: str) -> bool:
        """Return whether a URL is one of ours only if all paths of its host lead here, which a proxy may not do."""
        here = self.spelled(url)
        own_paths = {_parts(own)[:3] for own in (*self.callback_urls, self.to_paste)}
        return self.has(here) and not (_parts(url).path and _parts(here)[:3] in own_paths)

    def slashed_like(self, url: str) -> str | None:
        """Return what of the listener's a URL is but for a slash at the end, where that makes it the application's.

        It is meant, or a slip: the application alone may have something there.
        """
        url = self.spelled(url)
        if not self._forwarding_at(url):
            return None
        own = respelled(url, (*self.callback_urls, self.to_paste))
        if own != url:
            return self.corrected(own)
        document = urlsplit(url)._replace(path=_parts(url).path.rstrip("/"))
        is_served = _is_slashed(url) and self.serves(without_query(document.geturl())) is True
        return document.geturl() if is_served and is_of_document(document.geturl(), self.callback_urls) else None

    def leads_to(self, url: str, callback_urls: Collection[str]) -> bool:
        """Return whether a URL leads to a listener with one of these callback URLs, to a document or beside it too.

        A listener's own callback URL leads to no other one, though it may be below that of one that forwards. However
        it is spelled, it leads there.
        """
        url = self.spelled(url)
        if any(is_at(url, own) for own in callback_urls):
            return True
        if own_there := self._own_at(url):
            return own_there <= set(callback_urls)
        if nearest := self._forwarding_at(url):
            return any(is_at(forwarding, own) for forwarding in nearest for own in callback_urls)
        return is_of_document(url, tuple(callback_urls))

    def _own_at(self, url: str) -> set[str]:
        """Return the callback URLs that a URL is one of; those that it is but for their query, if it is none.

        Without the query it is refused there, or by a proxy before: no other place has it.
        """
        own_urls = {*self.callback_urls, *self.lost}
        is_alike = is_at if self._forwarding_at(url) else leads_to_same
        bare = without_query(url)
        return {own for own in own_urls if is_at(url, own)} or {
            own for own in own_urls if is_alike(bare, without_query(own))
        }

    def _forwarding_at(self, url: str) -> list[str]:
        """Return the callback URLs of those that forward and that a URL is beside, the longest path alone."""
        forwarding = [*([self.to_paste] if self.forwards else []), *self.forwarding]
        beside = [own for own in forwarding if _is_below(url, own)]
        beside = [own for own in beside if is_at(url, own) or _parts(url).path != _parts(own).path]
        longest = max((len(_base(own)) for own in beside), default=0)
        return [own for own in beside if len(_base(own)) == longest]

    def why_lost(self, url: str) -> str | None:
        """Return why what is sent to a URL may be lost, if it leads to a listener of which that is known."""
        return next((why for own, why in self.lost.items() if self.leads_to(url, [own])), None)

    def url_for(self, url: str, *, keeps_path: bool) -> str:
        """Return the URL here for an application's URL, with its query: that of callbacks, or at the same path.

        The query of the URL of callbacks stays whole before it: a proxy in front may want that.
        """
        own, parts = urlsplit(self.to_paste), _parts(url)
        base_url = base_of(self.to_paste, _PATH)
        base = urlsplit(base_url).path
        path = parts.path
        is_taken = (
            own.path in (path, base + path)
            or path == "/healthz"
            or (path.startswith(DOCUMENTS) and not path.endswith("/") and self.serves(base_url + path) is True)
        )
        if keeps_path and not is_taken:
            own = own._replace(path=base + (parts.path or "/"))
        return own._replace(query=_both_queries(own.query, parts.query)).geturl()

    def document_at(self, url: str) -> tuple[str, frozenset[str]] | None:
        """Return which document of an application a URL beside a listener leads to; None if that is not in the URL.

        It is the path there, and the names in the query, as ``url_for`` has kept them.
        """
        url = self.spelled(url)
        beside = self._forwarding_at(url)
        if not beside or any(is_at(url, own) for own in beside) or self.serves(without_query(url)):
            return None
        query = _added(_parts(beside[0]).query, _parts(url).query)
        return _parts(url).path.removeprefix(_base(beside[0])), _names(query)

    def application_path(self, url: str) -> str:
        """Return in words the path of the application to which a URL beside a listener leads.

        It lacks the listener's folder, unless --forward-to has that too, of which nothing is known here.
        """
        path, folder = urlsplit(url).path, _base(self.to_paste)
        rest = path.removeprefix(folder)
        if rest == path or rest.startswith(f"{folder}/"):
            return rest
        return f"{rest} ({path} if --forward-to is below {folder}/ too)"

    def refuses_twiml(self, url: str) -> bool:
        """Return whether a URL leads to a listener that gives no TwiML to Twilio there, so that each call fails."""
        return self.has_no_twiml(url) or self.is_misspelled(url) or self.cannot_give(url)

    def cannot_give(self, url: str) -> bool:
        """Return whether a URL is that of a document that a listener has, and can't give now.

        Where requests are passed on, a document goes before what the application has at its path.
        """
        url = self.spelled(url)
        return is_of_document(url, self.callback_urls) and self.lacks(without_query(url))

    def has_no_twiml(self, url: str) -> bool:
        """Return whether a URL leads to a listener that has no TwiML to give there, however it is spelled."""
        url = self.spelled(url)
        if self.is_of_document(url):
            return self.serves(without_query(url)) is False
        if self.is_left_beside(url):
            return True
        silent = self.without_twiml_at(url)
        own_there = self._own_at(url)
        return bool(silent) and len(silent) == sum(own in own_there for own in self.callback_urls)

    def is_left_beside(self, url: str) -> bool:
        """Return whether a URL was set beside a listener that passed requests on, and none there does so any more."""
        url = self.spelled(url)
        if self.answers(url) or not is_set_beside(url, self.callback_urls):
            return False
        silent = {own for own, _ in self.without_twiml}
        return all(own in silent for own in self.callback_urls if _is_below(url, own))

    def without_twiml_at(self, url: str) -> list[str]:
        """Return where those listeners are, of the ones at this URL or beside it, that have no TwiML to give."""
        url = self.spelled(url)
        own_there, beside = self._own_at(url), self._forwarding_at(url)
        return [
            where
            for own, where in self.without_twiml
            if own in own_there or any(is_at(each, own) for each in (url, *beside))
        ]

    def is_of_document(self, url: str) -> bool:
        """Return whether a URL is one at which a listener may serve a document, unless it passes requests on there."""
        url = self.spelled(url)
        return not self.has(url) and is_of_document(url, self.callback_urls)

    def answers(self, url: str) -> bool:
        """Return whether a URL for TwiML leads here: it is that of callbacks, or that of a document that is served."""
        return self.has(url) or is_of_document(self._accepted(url), self.callback_urls)

    def has_but_for(self, url: str) -> str | None:
        """Return what alone keeps a URL from being one that is answered here, in words; None if it is none.

        To http it is another request than to https: a redirect loses its form (docs/twilio.md, "Delivery").
        """
        if self.answers(url):
            return None
        if self.is_misspelled(url):
            return difference(url, self.spelled(url))
        for own in self.callback_urls:
            (scheme, *place), (own_scheme, *own_place) = _place(url), _place(own)
            if place == own_place:
                if leads_to_same(without_query(url), without_query(own)):
                    return "without the query of the listener's"
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
    """Yield what is wrong with numbers, one line for all others, and what is unknown.

    Wrong is that the calls of a number fail, and that not all is reported here.
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
    failing = []
    for each in handled:
        if (trouble := _trouble(each, listeners)) is not None:
            failing.append(each)
            yield trouble
        callback = each.by.status_callback
        if listeners.slashed_like(callback) is not None and listeners.why_lost(callback) is None:
            what = f"the application gets the callbacks of {each.name}"
            yield _slashed(each, listeners, callback, named="status callback", what=what)
    keeps_path = len({one for each in handled if (one := _document_of(each, listeners)) is not None}) > 1
    judged, unjudged = _judged(handled, listeners, keeps_path=keeps_path)
    faults = [(each, changes) for each, changes in judged if changes]
    for each, changes in faults[:_SHOWN]:
        command = _command(settings, each.resource, changes)
        fix = _fix(each, changes, listeners, keeps_path=keeps_path)
        yield warning("number", _unreported(each, listeners), fix=fix, numbers=list(each.numbers), command=command)
    if len(faults) > _SHOWN:
        rest = [number for each, _ in faults[_SHOWN:] for number in each.numbers]
        what = f"{len(rest)} more numbers, of which not all is reported here: {', '.join(rest[:_SHOWN])} …"
        yield warning("number", what, fix="set them in the same way", numbers=rest)
    well = [each for each, changes in judged if not changes and each not in failing]
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


def _trouble(handled: _Handled, listeners: Listeners) -> Finding | None:
    """Return that calls fail, or may fail; None if they get their TwiML as far as that is known."""
    url = handled.by.voice_url
    if _fails(handled, lambda url: listeners.leads_to(url, listeners.dead)):
        return _unreached(handled, listeners)
    if _fails(handled, listeners.refuses_twiml):
        return _refused(handled, listeners)
    if (silent := listeners.without_twiml_at(url)) and not listeners.refuses_twiml(url):
        what = (
            f"calls of {handled.name} fail, or begin with its fallback: of the listeners at its voice URL some have no "
            f"TwiML to give there: {', '.join(silent)}"
        )
        fix = "start all of them with the same --forward-to, or give the others another public URL"
        return warning("number", what, fix=fix, numbers=list(handled.numbers))
    if _fails(handled, lambda url: listeners.slashed_like(url) is not None):
        what = f"the calls of {handled.name} fail unless the application has TwiML"
        return _slashed(handled, listeners, url, named="voice URL", what=what)
    return None


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


def _refused(handled: _Handled, listeners: Listeners) -> Finding:
    """Return that calls fail whose voice URL leads to a listener that gives no TwiML there."""
    url = handled.by.voice_url
    is_document = listeners.is_of_document(url)
    if listeners.cannot_give(url):
        name = _document(url)
        hint = f"mend the file that --serve {name} names, or set another voice URL"
        where = (
            f"the listener, which can't give that document now: the file of --serve {name} can't be read or is no TwiML"
        )
        return _failing(handled, where, hint=hint, may_be_elsewhere=True)
    if not listeners.has_no_twiml(url):
        where = f"the listener, which refuses it: it is spelled and signed {listeners.has_but_for(url)}"
        hint = f"set the voice URL to {without_secrets(listeners.corrected(url))}"
        return _failing(handled, where, hint=hint, may_be_elsewhere=is_document or listeners.has_by_host_alone(url))
    hint = "start it with --forward-to and your application's URL, or set the voice URL back to that"
    may_be_elsewhere = is_document or listeners.is_left_beside(url)
    if is_document:
        hint = f"start it with --serve {_document(url)}=FILE, or set another voice URL"
    where = "the listener, which has no TwiML to give there"
    return _failing(handled, where, hint=hint, may_be_elsewhere=may_be_elsewhere)


def _slashed(handled: _Handled, listeners: Listeners, url: str, *, named: str, what: str) -> Finding:
    """Return what happens at a path of the application that is the listener's but for a slash."""
    own = listeners.slashed_like(url) or listeners.to_paste
    where = f"at its path {listeners.application_path(url)}, to which the {named} leads"
    fix = f"set the {named} to {without_secrets(own)}, unless that path is meant"
    text = f"{what} {where}: it is spelled {difference(url, own)}"
    return warning("number", text, fix=fix, numbers=list(handled.numbers))


def unanswered_findings(
    settings: Settings,
    open_client: Callable[[Settings], ApiClient],
    *,
    numbers: Sequence[PhoneNumber],
    callback_url: str,
) -> Iterator[Finding]:
    """Yield a fault for each number whose voice URL is that of a listener, where it is known that none runs."""
    handled, _ = _handled(open_client(settings), numbers)

    def may_lead_there(url: str) -> bool:
        return is_of_document(url, [callback_url]) or is_set_beside(url, [callback_url])

    def leads_there(url: str) -> bool:
        url = respelled(url, [callback_url])
        return is_at(url, callback_url) or may_lead_there(url)

    for each in handled:
        if _fails(each, leads_there):
            hint = "start it with what its calls need, --forward-to or --serve, or set the voice URL back"
            url = respelled(each.by.voice_url, [callback_url])
            may_be_elsewhere = not is_at(url, callback_url)
            yield _failing(each, "the public URL, where no listener runs", hint=hint, may_be_elsewhere=may_be_elsewhere)


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


def _document_of(handled: _Handled, listeners: Listeners) -> tuple[str, frozenset[str]] | None:
    """Return which document of an application answers calls: its path, and the names in its query; None if unknown.

    One --forward-to gives documents that differ in the values of those alone: its own query has the names that a
    number's lacks. Beside a listener the URL says it; where the listener's own is requested in its place, the fallback
    does, as ``doctor`` has it set.
    """
    if (document := listeners.document_at(handled.by.voice_url)) is not None:
        return document
    for url in (handled.by.voice_url, handled.by.voice_fallback_url):
        if url and not listeners.answers(url):
            if _is_printed(url) or listeners.has_but_for(url):
                return None
            return _parts(url).path, _names(_parts(url).query)
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
    """Return what to set: the status callback, and the voice URL where requests for TwiML are passed on, or refused.

    With ``keeps_path`` the voice URL keeps its path: numbers have different documents of one application. What lies at
    a path of the listener's own can't: it is answered by what --forward-to names.

    The voice URL's method stays: the application behind it may answer no other one. Its own URL is requested where the
    listener fails or is gone, unless the number has another one for that; one with a password is left out.
    """
    changes: dict[str, str] = {}
    if not listeners.has(handled.by.status_callback):
        own = listeners.corrected(handled.by.status_callback)
        changes |= {
            "StatusCallback": own if listeners.has(own) else listeners.to_paste,
            "StatusCallbackMethod": "POST",
        }
    if listeners.is_misspelled(handled.by.voice_url) and not listeners.has_no_twiml(handled.by.voice_url):
        changes["VoiceUrl"] = listeners.corrected(handled.by.voice_url)
    elif listeners.forwards and handled.by.voice_url and not listeners.answers(handled.by.voice_url):
        url = handled.by.voice_url
        is_application = not _is_printed(url) and not listeners.has_but_for(url)
        changes["VoiceUrl"] = listeners.url_for(url, keeps_path=keeps_path and is_application)
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


def _fix(handled: _Handled, changes: Mapping[str, str], listeners: Listeners, *, keeps_path: bool) -> str:
    """Return what the request does: it names each URL that is replaced, and says what becomes of it."""
    parts = ["this sets both" if {"StatusCallback", "VoiceUrl"} <= changes.keys() else "this sets it"]
    if "VoiceUrl" in changes and not listeners.has_but_for(handled.by.voice_url):
        url, replaced = changes["VoiceUrl"], handled.by.voice_url
        is_own = urlsplit(url).path == urlsplit(listeners.to_paste).path
        at_path = "" if is_own else f", at its path {listeners.application_path(url)}"
        same = f", so that must be the same {'document' if is_own else 'application'}"
        same = "" if _is_printed(replaced) else same
        parts.append(f"its calls are then answered by what --forward-to names{at_path}, in place of {replaced}{same}")
        has_own_path = _parts(replaced).path == urlsplit(listeners.to_paste).path and not _base(listeners.to_paste)
        if same and keeps_path and has_own_path:
            parts.append("if it is not, give the listener a path that the application does not have, by --public-url")
        own_query = _parts(listeners.to_paste).query
        if _names(_added(own_query, _parts(replaced).query)) & _names(own_query):
            parts.append(
                "a parameter in its query is in the public URL's too: the application gets both, the public URL's first"
            )
        if same and signs_in(replaced):
            parts.append("the URL of --forward-to needs that one's user and password too")
    if "VoiceFallbackUrl" in changes:
        parts.append(
            "where the listener is gone, or any document of a call fails, Twilio requests the application itself anew "
            "(VoiceFallbackUrl)"
        )
    replaced = handled.by.status_callback if "StatusCallback" in changes else ""
    if replaced and not listeners.has_but_for(replaced):
        instead = "" if _is_printed(replaced) else _instead(listeners)  # no application is there
        parts.append(f"Twilio then no longer requests {replaced}{instead}")
        if handled.by.status_callback_method == "GET":
            parts.append("callbacks come by POST then, not by GET")
    if listeners.has_password:
        parts.append("the command holds the public URL's password in clear")
    for name, words in (("StatusCallback", "status callback"), ("VoiceUrl", "voice URL")):
        query = _parts(changes.get(name, "")).query
        if query != _parts(listeners.to_paste).query and without_secrets(query) != query:
            parts.append(f"the command holds a password in clear, in the query of the {words}")
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

    A password in the callback URL, or in the query of a number's URL, is shown, since the request would set asterisks
    in its place.
    """
    names = ("API_KEY", "API_SECRET") if settings.api_key else ("ACCOUNT_SID", "AUTH_TOKEN")
    user = ":".join(f"${{TWILIO_{name}:?}}" for name in names)
    pairs = " ".join(f"--data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in changes.items())
    return f'curl -u "{user}" {shlex.quote(url)} {pairs}'


def is_of_document(url: str, callback_urls: Sequence[str]) -> bool:
    """Return whether a URL is one at which a listener with one of these callback URLs may serve a document."""
    return any(
        is_same_origin(url, own)
        and not _is_slashed(url)
        and _parts(url).path.startswith(_parts(base_of(own, _PATH)).path + DOCUMENTS)
        for own in callback_urls
    )


def is_set_beside(url: str, callback_urls: Sequence[str]) -> bool:
    """Return whether a URL is one that ``doctor`` has set beside one of these callback URLs, by its path and fragment.

    Any other URL there may be that of an application, which a proxy routes to it.
    """
    return url.partition("#")[2].startswith(_RETRIES) and any(_is_below(url, own) for own in callback_urls)


def _is_printed(url: str) -> bool:
    """Return whether a URL is one that a watch or ``doctor`` has printed; its tunnel may be somebody else's by now."""
    return url.partition("#")[2].startswith(_RETRIES) and _parts(url).path.endswith(_PATH)


def _place(url: str) -> tuple[str, str, str]:
    parts = _parts(url)
    return parts.scheme, parts.netloc, parts.path.rstrip("/")


def _is_below(url: str, callback_url: str) -> bool:
    """Return whether a URL is beside a callback URL: a proxy may route no other path of the host to a listener."""
    return is_same_origin(url, callback_url) and _parts(url).path.startswith(f"{_base(callback_url)}/")


def _base(callback_url: str) -> str:
    return _parts(base_of(callback_url, _PATH)).path.rstrip("/")


def _with_query_of(url: str, own: str) -> str:
    """Return a listener's URL with the query of another URL behind its own, and the fragment of that one."""
    query = _both_queries(urlsplit(own).query, urlsplit(url).query)
    return urlsplit(own)._replace(query=query, fragment=urlsplit(url).fragment).geturl()


def _both_queries(own: str, query: str) -> str:
    return "&".join(filter(None, (own, _added(own, query))))


def _added(own: str, query: str) -> str:
    there = own.split("&")
    return "&".join(pair for pair in query.split("&") if pair and pair not in there)


def _names(query: str) -> frozenset[str]:
    return frozenset(parse_qs(query, keep_blank_values=True))


def _is_slashed(url: str) -> bool:
    """Return whether a URL ends with a slash behind the name of what could be a document."""
    path = _parts(url).path
    return path.endswith("/") and path.rstrip("/").rpartition("/")[0].endswith(DOCUMENTS.rstrip("/"))


@lru_cache
def _parts(url: str) -> SplitResult:
    """Return the parts of a URL as they are compared, without a user; all are empty where it can't be parsed."""
    try:
        return urlsplit(one_spelling(without_user_and_fragment(url)))
    except ValueError:
        return urlsplit("")


def _count(number: int) -> str:
    return f"{number} number{'' if number == 1 else 's'}"
