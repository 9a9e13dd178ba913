"""callctl's own errors: what went wrong, and what to do next; and the removal of secrets from texts.

Exit codes are the command line's matter (``cli/exits.py``).

    CallctlError                 something failed; ``message`` says what, ``hint`` what to do next
    ├── UsageError               the request makes no sense as it was put
    │   └── SettingsError        a setting is missing or malformed
    ├── UnknownCallError         the call that was meant is not known
    ├── NotEndedError            the call is in progress, and only a ringing one was to be ended
    ├── NotInProgressError       the call could not be redirected now: only one in progress can be
    ├── NoLongerWantedError      a request that failed was not sent again: it was no longer wanted
    ├── ConditionNotMetError     what was waited for can no longer happen
    ├── PartlyFailedError        some of many calls failed
    ├── WaitTimeoutError         what was waited for did not happen in time
    ├── StoreError               the event store can't be read or written
    ├── PortTakenError           the address to listen at is in use
    ├── NoThreadError            the system has no thread left for the work
    ├── NetworkError             no usable answer came back
    │   └── OutcomeUnknownError  the request was sent, its answer never came: it may have been carried out
    └── ApiError                 the API answered, and refused
        ├── AuthenticationError  the credentials were not accepted, or may not do this
        ├── NotFoundError        there is no such call
        ├── WrongCallStateError  the call's status does not allow it
        └── RateLimitedError     too many requests; this one was not processed
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from datetime import datetime


REDACTED = "***"
# Patterns are compiled when they are needed: most commands write no @. Each text may be long and anybody's: no pattern
# reads on beyond where it may begin again.
# What comes before the last @ of a URL's authority: with it Twilio signs in where it fetches a document.
_USER_INFO = r"(?P<start>://)(?P<info>[^/\s\"<>?#]*)(?P<at>@)"
# A URL within the query of another is percent-encoded, in part or as a whole, and once more within a third one. Its
# authority ends where a character of the same encoding, or of the outermost, ends it.
_ENCODED_USER_INFO = r"""(?xi)
    (?P<start> % (?P<whole> (?:25){0,4} ) 3A (?: // | %(?P=whole)2F %(?P=whole)2F ) )
    (?P<info> (?: (?! % (?P=whole)? (?:2F|3F|23|20|22|3C|3E) | (?! % (?P=whole) 26 ) %26 ) [^/\s"<>?#&] )* )
    (?P<at> @ | %(?:25){0,4}40 )
  | (?P<slashes> : % (?P<part> (?:25){0,4} ) 2F %(?P=part)2F )
    (?P<info2> (?: (?! % (?P=part)? (?:2F|3F|23|20|22|3C|3E) | (?! % (?P=part) 26 ) %26 ) [^/\s"<>?#&] )* )
    (?P<at2> @ | %(?:25){0,4}40 )
  | (?P<plain> :// ) (?: [^/\s"<>?#]* @ | (?P<info3> [^/\s"<>?#&]* ) (?P<at3> %(?:25){0,4}40 ) )
"""
_COLON = r"(?i):|%(?:25){0,4}3A"
# RFC 3261, 19.1.1: sip:user:password@host. What is no address, since it has several @ or a blank, is redacted as well.
_SIP_USER = r"(?i)\bsips?:[^\s<>\"@:]*:"
_SIP_END = r"[\s<>\"]"
_ENCODED_SIP_USER = r"""(?xi)
    (?: \b | (?<=[23][0-9a-f]) ) sips? (?: : | %(?:25){0,4}3A )
    (?: (?! %(?:25){0,4}(?:3A|40) ) [^\s<>"@:&/?] )* (?: : | %(?:25){0,4}3A )
"""
_ENCODED_SIP_END = r"[\s<>\"&/?]"
_ANY_AT = r"@|%(?:25){0,4}40"
_CREDENTIAL_ATTRIBUTE = r"""(\bpassword\s*=\s*)("[^"]*"|'[^']*')"""


def without_secrets(text: str) -> str:
    """Return a text without passwords: ``https://user:***@host``. A user alone may be a key, so it is left out too.

    Those in a URL that is percent-encoded, as within the query of another, are found too.
    """
    if "@" in text or "%" in text:
        text = without_url_passwords(without_sip_passwords(text))
    return re.sub(_CREDENTIAL_ATTRIBUTE, rf'\1"{REDACTED}"', text) if "password" in text else text


def without_url_passwords(text: str) -> str:
    """Return a text with ``https://user:***@host`` for each URL that holds a password, as ``without_secrets``."""
    if "@" in text:
        text = re.sub(_USER_INFO, _without_user_info, text)
    return re.sub(_ENCODED_USER_INFO, _without_user_info, text) if "%" in text else text


def without_sip_passwords(text: str) -> str:
    """Return a text with ``sip:user:***@host`` for each SIP address that holds a password."""
    if "@" in text:
        text = _without_sip_passwords(text, _SIP_USER, end=_SIP_END, at="@")
    if "%" in text:
        text = _without_sip_passwords(text, _ENCODED_SIP_USER, end=_ENCODED_SIP_END, at=_ANY_AT)
    return text


def _without_user_info(match: re.Match[str]) -> str:
    parts = {name.rstrip("23"): value for name, value in match.groupdict().items() if value is not None}
    start = parts.get("start") or parts.get("slashes") or parts.get("plain") or ""
    if "at" not in parts:  # nothing of it is encoded
        return match[0]
    colon = re.search(_COLON, parts["info"])
    user = parts["info"][: colon.end()] if colon else ""
    return f"{start}{user}{REDACTED}{parts['at']}"


def _without_sip_passwords(text: str, user: str, *, end: str, at: str) -> str:
    """Return a text with what stands between each ``user`` and the last ``at`` before an ``end`` redacted."""
    pieces: list[str] = []
    kept = begin = 0
    while start := re.compile(user).search(text, begin):
        ending = re.compile(end).search(text, start.end())
        begin = ending.start() if ending else len(text)
        ats = [at_sign.start() for at_sign in re.compile(at, re.IGNORECASE).finditer(text, start.end(), begin)]
        if ats:
            pieces += text[kept : start.end()], REDACTED
            kept = ats[-1]
    return "".join((*pieces, text[kept:])) if pieces else text


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, with ``…`` for what is cut off.

    Its passwords are removed first: what is left of one without the ``@`` behind it would look like any other text.
    """
    text = without_secrets(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def without_user_info(text: str) -> str:
    """Return a text that is not a valid URL without everything before its last ``@``: it may hold a password."""
    _, at, rest = text.rpartition("@")
    return f"{REDACTED}@{rest}" if at else text


class CallctlError(Exception):
    """Something failed. Say what in ``message`` and what to do next in ``hint``; URLs lose their passwords there.

    ``may_be_done`` is whether a change of a call may have been carried out all the same: by this request, or by an
    earlier try of it that was not answered.
    """

    may_be_done = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = without_secrets(message)
        self.hint = None if hint is None else without_secrets(hint)
        super().__init__(self.message)

    def add(self, clause: str, *, hint: str) -> None:
        """Add to what went wrong, and put another hint before the one there is."""
        self.message = f"{self.message}; {without_secrets(clause)}"
        self.hint = without_secrets(f"{hint}; {self.hint}" if self.hint else hint)
        self.args = (self.message,)

    @property
    def is_transient(self) -> bool:
        """Whether a later request to the API may succeed, without anything being changed here."""
        return False


class UsageError(CallctlError):
    """The request makes no sense as it was put: a bad number, two options that exclude each other."""


class SettingsError(UsageError):
    """A setting is missing or malformed."""


class UnknownCallError(CallctlError):
    """The call that was meant is not known: no SID begins with this, or none was placed yet."""


class NotEndedError(CallctlError):
    """The call is in progress, and only one that still rings was to be ended."""


class NotInProgressError(CallctlError):
    """The call can't be redirected, since it is not in progress: by what callbacks or REST show, not by a refusal."""


class NoLongerWantedError(CallctlError):
    """A request that failed was not sent again, since it was no longer wanted by then. The failure is the cause."""


class ConditionNotMetError(CallctlError):
    """What was waited for can no longer happen, because the call ended another way."""


class PartlyFailedError(CallctlError):
    """Of many calls, some failed."""


class WaitTimeoutError(CallctlError):
    """What was waited for did not happen in time."""


class StoreError(CallctlError):
    """The event store can't be opened, read or written: a full disk, a lock held too long, no database."""


class StoreAwayError(StoreError):
    """A shared store can't be reached just now, or does not answer; it may be there again any moment."""


class StoreBusyError(StoreError):
    """A shared store is there, but a statement took too long and was ended, as where another session holds a lock."""


class PortTakenError(CallctlError):
    """The address to listen at is in use by another process."""


class NoThreadError(CallctlError):
    """The system has no thread left for the work, so nothing of it was begun."""

    def __init__(self) -> None:
        super().__init__(
            "the system lets callctl start no further thread",
            hint="end other programs of this user, or raise the limit: `ulimit -u`, or the service's",
        )

    @property
    def is_transient(self) -> bool:
        """Whether trying again later may succeed: other threads end."""
        return True


class NetworkError(CallctlError):
    """No usable answer came back: refused, unknown host, time limit, broken connection."""

    @property
    def is_transient(self) -> bool:
        """Whether a later request may succeed: so it may, unless a subclass knows better."""
        return True


class OutcomeUnknownError(NetworkError):
    """The request went out and no answer came back, so it may have been carried out."""

    may_be_done = True


class ApiError(CallctlError):
    """The API answered, and refused.

    Attributes:
        status: The HTTP status.
        code: The API's own code as text (``"21220"``; compatible services use words too), or None.
        more_info: The address of the code's documentation, or None.
        request_id: The reply's ``Twilio-Request-Id``, or None.
        at: The reply's ``Date``, by the server's clock and in whole seconds, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        more_info: str | None = None,
        request_id: str | None = None,
        at: datetime | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.more_info = more_info
        self.request_id = request_id
        self.at = at

    @property
    def is_transient(self) -> bool:
        """Whether a later request may succeed: after a fault of the server's own, or too many requests."""
        return self.status >= 500 or isinstance(self, RateLimitedError)

    def reworded(self, message: str, *, hint: str | None) -> Self:
        """Return the same refusal, explained better than the API did."""
        reworded = type(self)(
            message,
            status=self.status,
            code=self.code,
            more_info=self.more_info,
            request_id=self.request_id,
            at=self.at,
            hint=hint,
        )
        reworded.may_be_done = self.may_be_done
        return reworded


class AuthenticationError(ApiError):
    """The credentials were not accepted (20003), or may not do this (20403, 70051)."""


class NotFoundError(ApiError):
    """There is no such call (20404)."""


class WrongCallStateError(ApiError):
    """The call's status does not allow it (21220)."""


class RateLimitedError(ApiError):
    """Too many requests (429, 20429); Twilio never processed this one."""


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Return why a text file can't be read or written."""
    return getattr(error, "strerror", None) or "not a text file"


def type_and_message(error: Exception) -> str:
    """Return the text for an unexpected error."""
    return f"{type(error).__name__}: {error}"


def failure_reason(error: Exception) -> str:
    """Return why something failed: the message of a CallctlError, else type and message."""
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else type_and_message(error)


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a mistyped one, for a hint; None if none is like it."""
    from difflib import get_close_matches

    words = list(known)
    near = get_close_matches(word.lower().replace("_", "-"), words, n=1) or get_close_matches(word, words, n=1)
    return near[0] if near else None
