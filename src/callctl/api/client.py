"""The API client: places, fetches, lists, redirects and ends calls, through Twilio's REST API.

It sends through the SDK's client and reads the replies itself, since the SDK's objects lose what callctl shows: the
zone of dates, the request id, the code of list errors (docs/twilio.md, "The Python library"). All errors are of
callctl's own classes. Which request may be sent twice is decided here and nowhere else.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

from callctl.api.pages import MAX_PAGE_SIZE, ReadAhead, rows
from callctl.api.replies import Reply, sid_in
from callctl.api.retries import Attempt, NoReplyError, Resend, Retry, Sender, check_text
from callctl.calls.call import Call
from callctl.calls.sid import is_call_sid
from callctl.errors import ApiError, CallctlError, NetworkError, OutcomeUnknownError, UsageError

if TYPE_CHECKING:
    from callctl.api.requests import Parameters, PlaceRequest, RedirectRequest
    from callctl.api.resources import Account, Application, Notification, Participant, PhoneNumber
    from callctl.calls.filter import CallFilter
    from callctl.settings import Settings

_VERSION = "2010-04-01"
_DEFAULT_PAGE_SIZE = 50  # OAS


class ApiClient:
    """Twilio's Calls resource for one account at one API address. Safe for use from several threads.

    Every method raises ``SettingsError`` before anything is sent when credentials are missing, ``UsageError`` for a
    SID that can't be one, ``NetworkError`` when no usable answer came, and ``ApiError`` or one of its kinds when the
    API refused. ``NoThreadError`` means that the system had no thread left for a request.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        request_timeout: float = 10.0,
        sleep: Callable[[float], None],
        random: Callable[[], float],
        on_retry: Callable[[Retry], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare; nothing is sent, and neither twilio nor requests is loaded.

        Args:
            settings: Account, credentials and API address.
            request_timeout: The time limit for one exchange, from looking the name up to the last byte, in seconds.
            sleep: Waits for some seconds.
            random: Returns a number from 0 to 1.
            on_retry: Called before each pause after which a request is sent again, in the thread that waits.
            on_warning: Called with what can't be read of a reply that is used all the same.
        """
        self._warn = on_warning or (lambda _text: None)
        self._settings = settings
        self._sender = Sender(settings, timeout=request_timeout, sleep=sleep, random=random, on_retry=on_retry)
        self._wanted: Callable[[bool], bool] | None = None
        self._attempt: Attempt | None = None
        self._on_call: Callable[[Call], None] = lambda _call: None
        self._is_expected: Callable[[str], bool] = lambda _sid: False

    def while_wanted(self, wanted: Callable[[bool], bool]) -> Self:
        """Return the same client, which checks before each further try of a change whether it is still wanted.

        The pause before one may be long, and the call may have moved on. ``wanted`` gets whether an earlier try may
        have been carried out; if it returns False, NoLongerWantedError is raised. So is what it raises.
        """
        client = copy(self)
        client._wanted = wanted
        return client

    def seen_by(self, attempt: Attempt) -> Self:
        """Return the same client; ``attempt`` knows at any time whether its change may have been carried out."""
        client = copy(self)
        client._attempt = attempt
        return client

    def observed(self, on_call: Callable[[Call], None]) -> Self:
        """Return the same client, which also passes each call that it fetched or changed to ``on_call``.

        That is called in the thread of the request. What a list has is not passed on.
        """
        client = copy(self)
        client._on_call = on_call
        return client

    def expecting(self, is_expected: Callable[[str], bool]) -> Self:
        """Return the same client, for which a call may be one that the API does not know yet.

        ``is_expected`` gets the SID of a call that is not found, and returns whether it was placed just now. The
        request is then sent again for some seconds; one for a call that is not found changed nothing.

        Source: docs/twilio.md, "Eventual consistency".
        """
        client = copy(self)
        client._is_expected = is_expected
        return client

    @property
    def calls_url(self) -> str:
        """The address to which the request to place a call goes; raise SettingsError without an account."""
        return self._url("Calls.json")

    def call_url(self, sid: str) -> str:
        """Return the address to which a request to change a call goes; raise as the requests do."""
        return self._call_url(sid)

    def load(self) -> None:
        """Load what sends requests, which takes a while, before a time limit begins; raise SettingsError."""
        self._sender.load()

    @property
    def server_time(self) -> datetime | None:
        """What the latest reply, a refusal too, said that the time is, in whole seconds; None before any."""
        return self._sender.server_time

    def account(self) -> Account:
        """Fetch the account. Of keys, only a main one may; others are refused with 20003.

        Source: docs/twilio.md, "Credentials".
        """
        from callctl.api.resources import Account

        resource = self._get(self._account_url(".json"))
        try:
            return Account.from_resource(resource)
        except ValueError as error:
            raise self._unexpected("an account") from error

    def place(self, request: PlaceRequest) -> Call:
        """Place a call. Never sent twice once its body may have gone out.

        Raises:
            OutcomeUnknownError: No answer came; the call may have been placed.
        """
        check = f"before you place it again, look: `callctl list --live --to {shlex.quote(request.to)}`"
        return self._write(self.calls_url, request.parameters(), done="placed", check=check)

    def redirect(self, sid: str, request: RedirectRequest) -> Call:
        """Give a call in progress other TwiML. Never sent twice: it would restart the survey, or dial again.

        Raises:
            WrongCallStateError: The call is not in progress (21220).
            OutcomeUnknownError: No answer came; the call may have been redirected.
        """
        check = f"before you redirect it again, look: `callctl show {sid}`"
        return self._write(self._call_url(sid), request.parameters(), done="redirected", check=check, sid=sid)

    def hangup(self, sid: str) -> Call:
        """End a call, whether queued, ringing or in progress."""
        return self._update(sid, [("Status", "completed")])

    def cancel(self, sid: str) -> Call:
        """End a call that is queued or ringing; one in progress is left alone.

        Source: docs/twilio.md, "REST: updating a call".
        """
        return self._update(sid, [("Status", "canceled")])

    def limit_time(self, sid: str, seconds: int) -> Call:
        """Limit a call's length, in seconds."""
        return self._update(sid, [("TimeLimit", str(seconds))], doubt="the call's length may have been limited")

    def fetch(self, sid: str) -> Call:
        """Fetch one call. Right after a change the answer may be old (docs/twilio.md, "Eventual consistency")."""
        reply = self._sender.get(self._call_url(sid), expected=partial(self._is_expected, sid))
        return self._same(sid, self._call(reply))

    def list(self, call_filter: CallFilter, *, page_size: int = MAX_PAGE_SIZE, limit: int | None) -> Iterator[Call]:
        """Yield the calls that match, in the order of the API (newest first), requesting page by page as they are read.

        Without a limit the next page of a slow API is requested while the calls of one are read. What the API sends is
        checked against the filter again, since filters may have been ignored.

        Args:
            call_filter: Which calls.
            page_size: How many to request at once, at most 1,000.
            limit: How many to yield, or None for all.

        Raises:
            NetworkError: The list does not end, or a page is none.
        """
        from callctl.api.requests import list_parameters

        if limit is not None and limit <= 0:
            return
        parameters = check_text(list_parameters(call_filter))
        # Where a filter may be ignored, pages of the limit's size would be many and small.
        smallest = _DEFAULT_PAGE_SIZE if parameters else 1
        size = max(1, min(page_size, MAX_PAGE_SIZE, max(limit or MAX_PAGE_SIZE, smallest)))
        first = f"{self._url('Calls.json')}?{urlencode([*parameters, ('PageSize', str(size))])}"
        count = 0
        as_of: datetime | None = None
        ahead = ReadAhead(self._sender.get)

        def page(url: str) -> dict[str, Any]:
            nonlocal as_of
            reply = ahead.take(url)
            as_of = reply.date
            return reply.resource()

        read_ahead = ahead.begin if limit is None else None  # else the calls of a page may be enough
        for row in self._rows(page, first, key="calls", on_next=read_ahead):
            call = Call.from_resource(row, as_of=as_of)
            if call_filter.matches(call):
                yield call
                count += 1
                if count == limit:
                    return

    def notifications(self, sid: str) -> _List[Notification]:
        """Fetch the errors and warnings that Twilio noted for a call, newest first as the API has them."""
        url = self._call_url(sid, "/Notifications.json")
        from callctl.api.resources import Notification

        return [Notification.from_resource(row) for row in self._rows(self._get, url, key="notifications")]

    def phone_numbers(self) -> _List[PhoneNumber]:
        """Fetch the numbers of the account; raise CallctlError where not all can be read."""
        from callctl.api.resources import PhoneNumber

        first = self._url(f"IncomingPhoneNumbers.json?PageSize={MAX_PAGE_SIZE}")
        rows = self._rows(self._get, first, key="incoming_phone_numbers", warn=_refuse)
        return [PhoneNumber.from_resource(row) for row in rows]

    def applications(self) -> _List[Application]:
        """Fetch the applications of the account; raise CallctlError where not all can be read."""
        from callctl.api.resources import Application

        first = self._url(f"Applications.json?PageSize={MAX_PAGE_SIZE}")
        rows = self._rows(self._get, first, key="applications", warn=_refuse)
        return [Application.from_resource(row) for row in rows]

    def participants(self, conference_sid: str) -> _List[Participant]:
        """Fetch the calls that are in a conference.

        Raises:
            NotFoundError: There is no such conference.
        """
        from callctl.api.resources import Participant

        sid = quote(conference_sid, safe="")
        first = self._url(f"Conferences/{sid}/Participants.json?PageSize={MAX_PAGE_SIZE}")
        rows = self._rows(self._get, first, key="participants", named_by="call_sid")
        return [Participant.from_resource(row) for row in rows]

    def phone_number_url(self, sid: str) -> str:
        """Return the address to which a request to change a number goes; raise SettingsError without an account."""
        return self._url(f"IncomingPhoneNumbers/{quote(sid, safe='')}.json")

    def application_url(self, sid: str) -> str:
        """Return the address to which a request to change an application goes; raise as that of a number does."""
        return self._url(f"Applications/{quote(sid, safe='')}.json")

    def _rows(
        self,
        fetch: Callable[[str], Mapping[str, Any]],
        first: str,
        *,
        key: str,
        named_by: str = "sid",
        warn: Callable[[str], None] | None = None,
        on_next: Callable[[str], None] | None = None,
    ) -> Iterator[Mapping[str, Any]]:
        base, warn = self._settings.api_url, warn or self._warn
        return rows(fetch, first, key=key, base=base, warn=warn, named_by=named_by, on_next=on_next)

    def _write(self, url: str, parameters: Parameters, *, done: str, check: str, sid: str | None = None) -> Call:
        """Send what must not be sent twice; ``check`` is the hint where it is not known whether it was done.

        Where a success can't be read whole, the call's SID is taken from what there is; ``sid`` is what it must be.
        """
        reply: Reply | None = None
        try:
            reply = self._sender.post(
                url,
                parameters,
                resend=Resend.IF_UNPROCESSED,
                wanted=self._wanted,
                attempt=self._attempt,
                expected=lambda: sid is not None and self._is_expected(sid),
            )
            call = self._call(reply)
            return call if sid is None else self._same(sid, call)
        except NetworkError as error:
            # Any other error is a success that can't be read.
            if isinstance(error, NoReplyError):
                if not error.sent:
                    raise
                reply = error.partial
            readable_sid = sid_in(reply.text) if reply is not None and reply.succeeded else None
            if readable_sid is not None and sid in (None, readable_sid):
                return Call(readable_sid, status="")
            unnamed = ", but its SID can't be read" if reply is not None and reply.status == 201 else ""
            raise OutcomeUnknownError(f"{error.message}; the call may have been {done}{unnamed}", hint=check) from error
        except ApiError as error:
            if not error.may_be_done:
                raise
            hint = check if error.status >= 500 else f"{check}; {error.hint}"
            raise error.reworded(f"it is not known whether the call was {done}: {error.message}", hint=hint) from error

    def _update(self, sid: str, parameters: Parameters, *, doubt: str = "the call may have been ended") -> Call:
        """Send what may be sent again; ``doubt`` is said where it is not known whether it was done."""
        try:
            reply = self._sender.post(
                self._call_url(sid),
                parameters,
                resend=Resend.ALWAYS,
                wanted=self._wanted,
                attempt=self._attempt,
                expected=partial(self._is_expected, sid),
            )
            return self._updated(sid, reply)
        except CallctlError as error:
            if error.may_be_done:
                error.add(doubt, hint=f"look: `callctl show {sid}`")
            raise

    def _updated(self, sid: str, reply: Reply) -> Call:
        try:
            return self._same(sid, self._call(reply))
        except NetworkError as error:
            error.may_be_done = True  # a success that can't be read
            raise

    def _same(self, sid: str, call: Call) -> Call:
        """Return the call of a reply if it is the one that was requested."""
        if call.sid != sid:
            raise self._unexpected(f"call {sid}: it answered with {call.sid}")
        self._on_call(call)
        return call

    def _get(self, url: str) -> dict[str, Any]:
        return self._sender.get(url).resource()

    def _call(self, reply: Reply) -> Call:
        resource = reply.resource()
        try:
            return Call.from_resource(resource, as_of=reply.date)
        except ValueError as error:
            raise self._unexpected("a call") from error

    def _unexpected(self, what: str) -> NetworkError:
        return NetworkError(
            f"{self._sender.host} answered, but not with {what}", hint="check the API address (CALLCTL_API_URL)"
        )

    def _call_url(self, sid: str, rest: str = ".json") -> str:
        if not is_call_sid(sid):
            raise UsageError(f"this can't be a call SID: {sid}", hint="it begins with CA and has 34 characters")
        return self._url(f"Calls/{quote(sid, safe='')}{rest}")

    def _url(self, path: str) -> str:
        return self._account_url(f"/{path}")

    def _account_url(self, rest: str) -> str:
        # First: without an account nothing may be sent, least of all to /Accounts/None.
        account = quote(self._settings.credentials().account_sid, safe="")
        return f"{self._settings.api_url.rstrip('/')}/{_VERSION}/Accounts/{account}{rest}"


def _refuse(incomplete: str) -> None:
    """Take no list that may be incomplete."""
    raise NetworkError(incomplete, hint="try again later")


_List = list  # within the class, ``list`` is the method
