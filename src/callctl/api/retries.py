"""Sending one request until it is answered, as often as it may be sent."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from callctl.api.repeats import TRIES, WAITS, Repeats, Wait, date_of, with_retry_after
from callctl.api.replies import Reply, clean_text, error_of
from callctl.api.requests import Parameters, check_text
from callctl.errors import CallctlError, NetworkError, SettingsError

if TYPE_CHECKING:
    from callctl.api.transport import Client
    from callctl.settings import Credentials, Settings


class NoReplyError(NetworkError):
    """No whole reply came.

    ``sent`` tells whether the server may have seen the request, and acted on it; ``partial`` is what came of its reply.
    """

    def __init__(self, message: str, *, sent: bool, passing: bool, hint: str, partial: Reply | None = None) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self._is_transient = passing
        self.partial = partial

    @property
    def is_transient(self) -> bool:
        """Whether asking again later may succeed: not where a certificate or an address is wrong, for instance."""
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
        on_wait: Callable[[Wait], None] | None,
    ) -> None:
        self._settings = settings
        self._timeout = timeout
        self._sleep = sleep
        self._random = random
        self._on_wait = on_wait
        self._client: Client | None = None
        self._lock = threading.Lock()
        self.host = urlsplit(settings.api_url).netloc
        self.server_time: datetime | None = None  # of the latest reply

    def ask(self, url: str) -> Reply:
        """Return the successful reply to a GET. Raises as ``submit``."""
        return self._perform(lambda client: client.get(url), url=url, repeats=Repeats.ALWAYS, changes=False)

    def submit(self, url: str, form: Parameters, *, repeats: Repeats) -> Reply:
        """Return the successful reply to a form.

        Raises:
            SettingsError: Credentials are missing, or can't be right.
            UsageError: A value can't be sent.
            NoReplyError: No whole reply came.
            ApiError: The API refused.
        """
        check_text(form)
        return self._perform(lambda client: client.post(url, form), url=url, repeats=repeats, changes=True)

    def _perform(self, send: Callable[[Client], Reply], *, url: str, repeats: Repeats, changes: bool) -> Reply:
        client = self._ready_client()
        attempt, pauses = 1, WAITS.pauses(self._random)
        may_be_done = False  # by an earlier attempt
        while True:
            headers: Mapping[str, str] | None = None
            failure: CallctlError
            try:
                reply = send(client)
            except client.faults as error:
                failure, again = self._unanswered(error, url=url, repeats=repeats)
            else:
                self.server_time = date_of(reply.headers)
                if reply.succeeded:
                    return reply
                failure, again, headers = self._refused(reply, repeats=repeats)
            failure.may_be_done = may_be_done = changes and (may_be_done or failure.may_be_done)
            if not again or attempt == TRIES:
                raise failure
            self._pause(with_retry_after(next(pauses), headers), failure, attempt=attempt)
            attempt += 1

    def _unanswered(self, error: Exception, *, url: str, repeats: Repeats) -> tuple[NoReplyError, bool]:
        from callctl.api.failures import fault_of
        from callctl.api.transport import may_be_sent, partial_reply

        fault = fault_of(error, sent=may_be_sent(error), url=url, timeout=self._timeout)
        partial = partial_reply(error, url=url)
        failure = NoReplyError(fault.sentence, sent=fault.sent, passing=fault.passing, hint=fault.hint, partial=partial)
        failure.may_be_done = fault.sent
        # The library's own text is not chained: it can hold the proxy's address with its password.
        return failure, fault.passing and (repeats is Repeats.ALWAYS or not fault.sent)

    def _refused(self, reply: Reply, *, repeats: Repeats) -> tuple[CallctlError, bool, Mapping[str, str]]:
        # A 429 was never processed (docs/twilio.md, "Errors", 20429). A 5xx may have been.
        again = reply.status == 429 or (reply.status >= 500 and repeats is Repeats.ALWAYS)
        failure = error_of(reply, clean=self._clean)
        failure.may_be_done = reply.status >= 500
        return failure, again, reply.headers

    def _pause(self, seconds: float, failure: CallctlError, *, attempt: int) -> None:
        if self._on_wait is not None:
            self._on_wait(Wait(seconds=seconds, reason=failure.message, attempt=attempt))
        self._sleep(seconds)

    def _clean(self, text: str) -> str:
        for secret in _secrets(self._settings):
            text = text.replace(secret, "***")
        return clean_text(text)

    def _ready_client(self) -> Client:
        credentials = self._settings.credentials()
        _check(credentials)
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


def _secrets(settings: Settings) -> list[str]:
    """Return what may not be shown where a server repeats the request: all secrets, also as HTTP Basic carries them.

    The longest stand first, for one may be part of another.
    """
    used = settings.credentials()
    basic = base64.b64encode(f"{used.username}:{used.secret}".encode()).decode()
    secrets = {basic, used.secret, settings.auth_token or used.secret, *settings.signing_keys}
    return sorted(secrets, key=len, reverse=True)


def _check(credentials: Credentials) -> None:
    # HTTP Basic can't carry other characters, and no account has them: an unnoticed blank, or quotes of a typesetter.
    if not all(text.isascii() and text.isprintable() for text in (credentials.username, credentials.secret)):
        raise SettingsError(
            "the credentials hold characters that no token has",
            hint="look for a line break or typographic quotes that came along when they were copied",
        )
