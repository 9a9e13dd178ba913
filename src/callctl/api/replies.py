"""Replies of the API: a resource, or an error of any known shape, which becomes one of callctl's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from callctl.calls.sid import TWILIO_CALL_SID, is_call_sid
from callctl.errors import (
    ApiError,
    AuthenticationError,
    NetworkError,
    NotFoundError,
    RateLimitedError,
    WrongCallStateError,
    shortened,
)
from callctl.support.dates import parse_date
from callctl.support.parsing import read_json

_DOCUMENTATION = "https://www.twilio.com/docs/errors/"
# Patterns are compiled when they are needed: a success has no text to be read.
_CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029]+"
_ANSI = "(?:\x1b\\[|\x9b)[0-9;:?]*[ -/]*[@-~]"
_NAMED_SID = r'"sid"\s*:\s*"(?!AC)([^"\\]{1,100})"'
_TWILIO_SID = rf"(?<![0-9A-Za-z]){TWILIO_CALL_SID}(?![0-9A-Za-z])"
# Where different services put the message of an error, the best first.
_MESSAGE_FIELDS = (
    *("message", "detail", "title", "error_message", "error_description", "errorMessage", "msg", "Message"),
    *("description", "reason", "error", "faultstring"),
)
_MOST_READ = 4000  # characters of a body that is no JSON
_MAX_TEXT = 400  # characters of the server's own message
# Not accepted, or accepted but not allowed to do this (docs/twilio.md, "Errors"). So are 401 and 403 without a code.
_CREDENTIAL_CODES = frozenset({"20003", "20008", "20403", "70051"})


class Reply(NamedTuple):
    """A whole reply: the host that answered, HTTP status, headers (names in any case), body."""

    host: str
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def succeeded(self) -> bool:
        """Whether the request was carried out. A 3xx is no success: redirections are not followed."""
        return 200 <= self.status < 300

    @property
    def date(self) -> datetime | None:
        """The server's time in whole seconds, as the headers have it (RFC 9110, 6.6.1); None if they don't."""
        return parse_date(self.headers.get("Date", ""))

    @property
    def retry_after(self) -> float | None:
        """After how many seconds to try again, if it says so (RFC 9110, 10.2.3): a number, or a date beside its own."""
        text = self.headers.get("Retry-After", "").strip()
        if text.isdecimal() and len(text) < 10:
            return float(text)
        until, now = parse_date(text), self.date
        return (until - now).total_seconds() if until and now else None

    def resource(self) -> dict[str, Any]:
        """Return the JSON object of a successful reply.

        Raises:
            NetworkError: The body is no JSON object, so something else than the API answered.
        """
        value = _json_of(self.text)
        if isinstance(value, dict):
            return value
        raise NetworkError(
            f"{self.host} answered HTTP {self.status}, but not as the API does ({_shape(self.text)})",
            hint=_ADDRESS,
        )


def _json_of(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        return None


def sid_in(text: str) -> str | None:
    """Return the SID of the call that the reply to a request is about, where the reply can't be read as a resource.

    That is the first ``sid`` which can be one of a call; else the only SID of Twilio's form in the text, for instance
    in the call's address.
    """
    named: str | None = next((sid for sid in re.findall(_NAMED_SID, text) if is_call_sid(sid)), None)
    if named is not None:
        return named
    others: set[str] = set(re.findall(_TWILIO_SID, text))
    return others.pop() if len(others) == 1 else None


class Refusal(NamedTuple):
    """What a reply says of an error."""

    text: str | None
    code: str | None
    more_info: str | None


def error_of(reply: Reply, *, clean: Callable[[str], str]) -> ApiError:
    """Return the error that an unsuccessful reply stands for.

    Args:
        reply: The reply.
        clean: Takes secrets out of the server's text.
    """
    refusal = _refusal(reply)
    text = clean(refusal.text or "") or _sentence(reply, clean=clean)  # of control characters alone nothing is left
    return _kind(reply.status, refusal.code)(
        text,
        status=reply.status,
        code=clean(refusal.code) if refusal.code else None,
        more_info=clean(refusal.more_info) if refusal.more_info else None,
        request_id=clean(request_id) if (request_id := reply.headers.get("Twilio-Request-Id")) else None,
        at=reply.date,
        hint=_hint_for(status=reply.status, code=refusal.code),
    )


def clean_text(text: str) -> str:
    """Return a server's text as one line without control characters or escape sequences, at most 400 characters."""
    line = " ".join(re.sub(_CONTROL, " ", re.sub(_ANSI, "", text)).split())
    return shortened(line, _MAX_TEXT)


def _kind(status: int, code: str | None) -> type[ApiError]:
    if status in (401, 403) or code in _CREDENTIAL_CODES:
        return AuthenticationError
    if status == 429 or code == "20429":
        return RateLimitedError
    if code == "21220":
        return WrongCallStateError
    if status == 404 or code == "20404":
        return NotFoundError
    return ApiError


def _refusal(reply: Reply) -> Refusal:
    """Read the 2010 API's body, RFC 9457's, or a compatible service's, in JSON or XML."""
    body = _json_of(reply.text)
    if not isinstance(body, dict):
        body = _xml_of(reply.text)
    inner = body.get("error")  # some put it one object deeper
    if isinstance(inner, dict):
        body = {**body, **inner}
    code = _code(body.get("code")) or _code(body.get("error_code"))
    message = _first(body, *_MESSAGE_FIELDS)
    more_info = _first(body, "more_info", "moreInfo")
    if more_info is None and (kind := _first(body, "type")) and kind.startswith("https://"):
        more_info = kind
    if more_info is None and code and re.fullmatch(r"[1-9][0-9]{4}", code) and "message" in body:
        more_info = _DOCUMENTATION + code
    return Refusal(_with_details(message, body), code, more_info)


def _xml_of(text: str) -> dict[str, str]:
    """Return the fields of the 2010 API's errors in XML: a RestException's (OAS knows JSON alone)."""
    if "<RestException>" not in text:
        return {}
    names = {"Message": "message", "Code": "code", "MoreInfo": "more_info", "Detail": "detail"}
    import html

    fields = re.findall(r"<(Message|Code|MoreInfo|Detail)>([^<]*)<", text)
    return {names[name]: html.unescape(value) for name, value in fields}


def _with_details(message: str | None, body: Mapping[str, Any]) -> str | None:
    title, detail = _first(body, "title"), _first(body, "detail")
    if message and title and detail and message == detail:
        message = f"{title}: {detail}"
    elif message and detail and message != detail and message != title:
        message = f"{message.rstrip('.')}: {detail}"
    errors = body.get("errors")
    if not isinstance(errors, list):
        return message
    parts = [_with_pointer(error) for error in errors[:3] if isinstance(error, dict)]
    if message is None and not parts:  # texts alone are another shape; beside a message they are nonsense
        parts = [error for error in errors[:3] if isinstance(error, str)]
    return "; ".join(part for part in (message, *parts) if part) or None


def _with_pointer(error: Mapping[str, Any]) -> str:
    message = _first(error, "detail", "message", "title") or ""
    pointer = _first(error, "pointer")
    return f"{message} ({pointer})" if pointer and message else message


def _first(body: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if isinstance(text := body.get(name), str) and text.strip()), None)


def _code(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value).strip() or None


def _sentence(reply: Reply, *, clean: Callable[[str], str]) -> str:
    try:
        phrase = f" {HTTPStatus(reply.status).phrase}"
    except ValueError:
        phrase = ""
    redirection = " and points elsewhere" if 300 <= reply.status < 400 else ""
    text, shape = clean(_visible_text(reply.text)), _shape(reply.text)
    explanation = f" ({shape}): {text}" if text else f", without an explanation ({shape})"
    return f"{reply.host} answered HTTP {reply.status}{phrase}{redirection}{explanation}"


def _visible_text(text: str) -> str:
    """Return the text of a body of no known shape: of a page its title, else what it shows."""
    import html

    text = text[:_MOST_READ].strip()
    if text.startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        content = re.sub(r"(?is)<!--.*?-->|<(script|style|head)\b.*?</\1>|<[^>]*>", " ", text)
        text = html.unescape(title[1] if title and title[1].strip() else content)
    return text if any(char.isalpha() for char in text) else ""


def _shape(text: str) -> str:
    start = text.lstrip()[:1]
    if not start:
        return "an empty body"
    if start == "<":
        return "a page or XML instead of JSON"
    return "JSON of another shape" if start in "{[" else "no JSON"


def _hint_for(*, status: int, code: str | None) -> str | None:
    """Return what to do about a refusal, by its code, else by its HTTP status; None if there is none."""
    if code in _HINTS:
        return _HINTS[code]
    if 300 <= status < 400:
        return _REDIRECTION
    if status >= 500:
        return _TROUBLE
    return {401: _CREDENTIALS, 403: _PERMISSION, 404: _NOT_FOUND, 429: _TOO_MANY}.get(status)


_CREDENTIALS = (
    "`callctl doctor` looks for the cause: account SID and token or key must belong together, to this Region and to "
    "this API address; the key may be deleted, the account not active, these test credentials, or "
    "a blank may have come along"
)
_PERMISSION = (
    "the account may be suspended, the key restricted, or these are test credentials, which can only place calls"
)
_TEST_CREDENTIALS = (
    "test credentials place calls that never ring, send no callbacks and do nothing else: take the account's own SID "
    "and auth token from the console"
)
_NOT_FOUND = "check the SID, the account it belongs to, its Region, and the API address; `callctl list` shows the calls"
_TOO_MANY = "too many requests at once: wait a little, or act on fewer calls at a time"
_REDIRECTION = "redirections are not followed, since the token would go along: check the API address (CALLCTL_API_URL)"
_TROUBLE = "the service has trouble: try again a little later"
_ADDRESS = "check the API address (CALLCTL_API_URL); a proxy or a log-in page may be answering in its place"

_CALLER = "--from must be a number of this account, or a caller id verified for it, in E.164 form"
_NUMBER = "write the number in E.164 form: +, country code, number"
_URL = "give an absolute http or https URL that Twilio can reach from outside"

# By Twilio's code (docs/twilio.md, "Errors").
_HINTS = {
    "20003": _CREDENTIALS,
    "20008": _TEST_CREDENTIALS,
    "20403": _PERMISSION,
    "70051": _PERMISSION,
    "20404": _NOT_FOUND,
    "20429": _TOO_MANY,
    "10004": "the account's limit of concurrent calls is reached: end some, or have it raised",
    "12100": "the TwiML must be well-formed, at most 4,000 characters, with <Response> as its root",
    "13223": _NUMBER,
    "21201": "say whom to call",
    "21205": _URL,
    "21210": _CALLER,
    "21211": _NUMBER,
    "21212": _CALLER,
    "21213": _CALLER,
    "21215": "allow calls to that country in the console: Voice, Settings, Geo permissions",
    "21216": "the account may not call that number; the console or Twilio's support says why",
    "21217": _NUMBER,
    "21219": "a trial account calls verified numbers only: verify the number in the console, or upgrade the account",
    "21220": "the call is over, or not as far as this takes; `callctl list --live` shows what each call is doing",
    "21609": "the status callback's URL must be absolute, without an underscore in its host, at most 4,000 characters",
}
