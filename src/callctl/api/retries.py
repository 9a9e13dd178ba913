"""Sending one request until it is answered, as often as it may be sent."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from callctl.api.replies import Reply, clean_text, error_of
from callctl.errors import (
    CallctlError,
    NetworkError,
    NoLongerWantedError,
    NotFoundError,
    NoThreadError,
    SettingsError,
    UsageError,
)
from callctl.support.backoff import Backoff

if TYPE_CHECKING:
    from callctl.api.requests import Parameters
    from callctl.api.transport import Client
    from callctl.settings import Credentials, Settings

TRIES = 5
BACKOFF = Backoff(first=0.1, factor=2, longest=30.0, jitter=0.1)  # docs/twilio.md, "Back-off"
# How often, and after which pauses, a call is requested again that the API does not know yet: within seven seconds.
_UNKNOWN_TRIES = 6
_UNKNOWN_PAUSES = Backoff(first=0.2, factor=2, longest=2.0)


class Resend(Enum):
    """When a request may be sent again after a failure."""

    IF_UNPROCESSED = "if the server never processed it"
    """Creating and redirecting: sent twice they call twice, or start the survey twice."""
    ALWAYS = "always"
    """Reading and hanging up: sent twice they do what they did once."""


class Retry(NamedTuple):
    """A request that is sent again: after how many seconds, why, and how many of ``tries`` are over."""

    seconds: float
    reason: str
    attempt: int
    tries: int = TRIES


class Attempt:
    """A request that changes something, seen by who may not wait for its end: whether it may have been carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._may_be_done = False
        self._is_abandoned = False

    def begin(self) -> None:
        """Count the request as sent, from just before it is.

        Raises:
            NoLongerWantedError: It was abandoned, so nothing may be sent.
        """
        with self._lock:
            if self._is_abandoned:
                raise NoLongerWantedError("it was left before the request was sent")
            self._may_be_done = True

    def fail(self, *, may_be_done: bool) -> None:
        """Note what is known once a try has failed."""
        with self._lock:
            self._may_be_done = may_be_done

    def abandon(self) -> bool:
        """Have nothing sent any more; return whether it may have been carried out."""
        with self._lock:
            self._is_abandoned = True
            return self._may_be_done


class NoReplyError(NetworkError):
    """No whole reply came.

    ``sent`` is whether the server may have seen the request, and acted on it; ``partial`` is what came of its reply.
    """

    def __init__(
        self, message: str, *, sent: bool, is_transient: bool, hint: str, partial: Reply | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self._is_transient = is_transient
        self.partial = partial

    @property
    def is_transient(self) -> bool:
        """Whether a later try may succeed: not where a certificate or an address is wrong, for instance."""
        return self._is_transient


class Sender:
    """Sends requests for one account. Safe for use from several threads; nothing is loaded before the first one."""

    def __init__(
        self,
        settings: Settings,
        *,
        timeout: float,
        sleep: Callable[[float], None],
        random: Callable[[], float],
        on_retry: Callable[[Retry], None] | None,
    ) -> None:
        self._settings = settings
        self._timeout = timeout
        self._sleep = sleep
        self._random = random
        self._on_retry = on_retry
        self._client: Client | None = None
        self._lock = threading.Lock()
        self.host = urlsplit(settings.api_url).netloc
        self.server_time: datetime | None = None  # of the latest reply

    def load(self) -> None:
        """Load what the first request would load; raise SettingsError as that."""
        self._ready_client()

    def get(self, url: str, *, expected: Callable[[], bool] = lambda: False) -> Reply:
        """Return the successful reply to a GET. ``expected`` and what is raised are as for ``post``."""
        return self._send(
            lambda client: client.get(url), url=url, resend=Resend.ALWAYS, changes=False, expected=expected
        )

    def post(
        self,
        url: str,
        form: Parameters,
        *,
        resend: Resend,
        wanted: Callable[[bool], bool] | None = None,
        attempt: Attempt | None = None,
        expected: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """Return the successful reply to a form.

        ``expected`` is called where the resource is not found, and returns whether it must be there soon: the request
        is then sent again for some seconds. ``wanted`` is called before the form is sent again, with whether an earlier
        try may have been carried out. ``attempt`` is kept up to date about that.

        Raises:
            NoLongerWantedError: It was not sent again, since it was not wanted any more.
            SettingsError: Credentials are missing, or can't be right.
            UsageError: A value can't be sent.
            NoReplyError: No whole reply came.
            ApiError: The API refused.
            NoThreadError: The system has no thread left for the request; the caller may have one to give back.
        """
        check_text(form)
        return self._send(
            lambda client: client.post(url, form),
            url=url,
            resend=resend,
            changes=True,
            expected=expected,
            wanted=wanted,
            seen=attempt,
        )

    def _send(
        self,
        request: Callable[[Client], Reply],
        *,
        url: str,
        resend: Resend,
        changes: bool,
        expected: Callable[[], bool],
        wanted: Callable[[bool], bool] | None = None,
        seen: Attempt | None = None,
    ) -> Reply:
        client = self._ready_client()
        attempt, pauses = 1, BACKOFF.pauses(self._random)
        unknown_pauses = islice(_UNKNOWN_PAUSES.pauses(), _UNKNOWN_TRIES)
        may_be_done = False  # by an earlier attempt
        while True:
            reply: Reply | None = None
            failure: CallctlError
            if seen is not None:
                seen.begin()
            try:
                reply = request(client)
            except NoThreadError as error:
                error.may_be_done = may_be_done
                raise
            except client.errors as error:
                failure, may_resend = self._without_reply(error, url=url, resend=resend)
            else:
                self.server_time = reply.date
                if reply.succeeded:
                    return reply
                failure, may_resend = self._refused(reply, resend=resend)
            failure.may_be_done = may_be_done = changes and (may_be_done or failure.may_be_done)
            if seen is not None:
                seen.fail(may_be_done=may_be_done)
            unknown_pause = next(unknown_pauses, None) if isinstance(failure, NotFoundError) else None
            if unknown_pause is not None and expected():
                self._sleep(unknown_pause)
            elif not may_resend or attempt == TRIES:
                raise failure
            else:
                self._pause(pause_before_retry(next(pauses), reply), failure, attempt=attempt)
                attempt += 1
            if wanted is not None:
                _check_wanted(wanted, failure)

    def _without_reply(self, error: Exception, *, url: str, resend: Resend) -> tuple[NoReplyError, bool]:
        from callctl.api.failures import explain
        from callctl.api.transport import may_be_sent, partial_reply

        cause = explain(error, sent=may_be_sent(error), url=url, timeout=self._timeout)
        failure = NoReplyError(
            cause.sentence,
            sent=cause.sent,
            is_transient=cause.is_transient,
            hint=cause.hint,
            partial=partial_reply(error, url=url),
        )
        failure.may_be_done = cause.sent
        # The library's own text is not chained: it can hold the proxy's address with its password.
        return failure, cause.is_transient and (resend is Resend.ALWAYS or not cause.sent)

    def _refused(self, reply: Reply, *, resend: Resend) -> tuple[CallctlError, bool]:
        # A 429 was never processed (docs/twilio.md, "Errors", 20429). A 5xx may have been.
        may_resend = reply.status == 429 or (reply.status >= 500 and resend is Resend.ALWAYS)
        failure = error_of(reply, clean=self._clean)
        # So may one whose answer is elsewhere; 301, 307 and 308 say that the request itself belongs there.
        failure.may_be_done = reply.status >= 500 or reply.status in (302, 303)
        return failure, may_resend

    def _pause(self, seconds: float, failure: CallctlError, *, attempt: int) -> None:
        if self._on_retry is not None:
            self._on_retry(Retry(seconds=seconds, reason=failure.message, attempt=attempt))
        self._sleep(seconds)

    def _clean(self, text: str) -> str:
        for secret in _secrets(self._settings):
            text = text.replace(secret, "***")
        return clean_text(text)

    def _ready_client(self) -> Client:
        credentials = self._settings.credentials()
        _check_characters(credentials)
        with self._lock:
            if self._client is None:
                from callctl.api.transport import Client

                self._client = Client(
                    username=credentials.username,
                    secret=credentials.secret,
                    timeout=self._timeout,
                    loopback=self._settings.is_loopback,
                    encrypted=self._settings.api_url.startswith("https:"),
                )
            return self._client


def check_text(parameters: Parameters) -> Parameters:
    """Return names and values if they can be sent, which is as UTF-8.

    Raises:
        UsageError: One can't: a command-line argument in another encoding.
    """
    for name, value in parameters:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{name} can't be sent, since it is not text: {value!r}",
                hint="it holds bytes that are no UTF-8: type it anew, or convert the file that it comes from",
            ) from error
    return parameters


def pause_before_retry(pause: float, reply: Reply | None) -> float:
    """Return a pause in seconds, or what a reply's Retry-After gives if that is longer; 30 s at most."""
    retry_after = None if reply is None else reply.retry_after
    return min(max(pause, retry_after or 0.0), BACKOFF.longest)


def _check_wanted(wanted: Callable[[bool], bool], failure: CallctlError) -> None:
    try:
        if wanted(failure.may_be_done):
            return
    except CallctlError as error:
        error.may_be_done = failure.may_be_done
        raise
    stopped = NoLongerWantedError(f"{failure.message}; it was not sent again, since it was no longer wanted")
    stopped.may_be_done = failure.may_be_done
    raise stopped from failure


def _secrets(settings: Settings) -> list[str]:
    """Return what may not be shown where a server repeats the request: all secrets, also as HTTP Basic carries them.

    The longest come first, for one may be part of another.
    """
    credentials = settings.credentials()
    basic = base64.b64encode(f"{credentials.username}:{credentials.secret}".encode()).decode()
    secrets = {basic, credentials.secret, settings.auth_token or credentials.secret, *settings.signing_keys}
    return sorted(secrets, key=len, reverse=True)


def _check_characters(credentials: Credentials) -> None:
    from callctl.settings import may_be_token

    if not (may_be_token(credentials.username) and may_be_token(credentials.secret)):
        raise SettingsError(
            "the credentials hold characters that no token has",
            hint="look for a line break or typographic quotes that came along when they were copied",
        )
