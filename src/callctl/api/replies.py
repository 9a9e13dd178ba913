"""What a reply says: a resource, or an error of whatever shape turned into one of ours."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from callctl.api import hints
from callctl.api.repeats import date_of
from callctl.calls.sid import TWILIO_CALL_SID, is_call_sid
from callctl.errors import (
    ApiError,
    AuthenticationError,
    NetworkError,
    NotFoundError,
    RateLimitedError,
    WrongCallStateError,
)
from callctl.support.dates import read_json

_DOCUMENTATION = "https://www.twilio.com/docs/errors/"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ANSI = re.compile("(?:\x1b\\[|\x9b)[0-9;:?]*[ -/]*[@-~]")
_NAMED_SID = re.compile(r'"sid"\s*:\s*"(?!AC)([^"\\]{1,100})"')
_TWILIO_SID = re.compile(rf"(?<![0-9A-Za-z]){TWILIO_CALL_SID}(?![0-9A-Za-z])")
# Where different services put the words of an error, the best first.
_WORDS = (
    *("message", "detail", "title", "error_message", "error_description", "errorMessage", "msg", "Message"),
    *("description", "reason", "error", "faultstring"),
)
_READ = 4000  # characters of a body that is no JSON
_MAX_TEXT = 400  # characters of the server's own words
# Not accepted, or accepted but not allowed to do this (docs/twilio.md, "Errors"). So are 401 and 403 without a code.
_CREDENTIAL_CODES = frozenset({"20003", "20008", "20403", "70051"})


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: who answered, HTTP status, headers (names in any case), body."""

    host: str
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def succeeded(self) -> bool:
        """Whether the request was carried out. A 3xx is no success: nothing was, and nothing is followed."""
        return 200 <= self.status < 300

    def resource(self) -> dict[str, Any]:
        """Return the JSON object of a successful reply.

        Raises:
            NetworkError: It is something else, so something else than the API answered.
        """
        value = _json_of(self.text)
        if isinstance(value, dict):
            return value
        raise NetworkError(
            f"{self.host} answered HTTP {self.status}, but not as the API does ({_shape(self.text)})",
            hint=hints.ADDRESS,
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
    named: str | None = next((sid for sid in _NAMED_SID.findall(text) if is_call_sid(sid)), None)
    if named is not None:
        return named
    others: set[str] = set(_TWILIO_SID.findall(text))
    return others.pop() if len(others) == 1 else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reply's error, whichever of the known shapes it has."""

    text: str | None
    code: str | None
    more_info: str | None


def error_of(reply: Reply, *, clean: Callable[[str], str]) -> ApiError:
    """Turn an unsuccessful reply into an error of ours.

    Args:
        reply: The reply.
        clean: What takes secrets out of the server's words.
    """
    refusal = _refusal(reply)
    text = clean(refusal.text) if refusal.text else _sentence(reply, clean=clean)
    return _kind(reply.status, refusal.code)(
        text,
        status=reply.status,
        code=clean(refusal.code) if refusal.code else None,
        more_info=clean(refusal.more_info) if refusal.more_info else None,
        request_id=clean(request_id) if (request_id := reply.headers.get("Twilio-Request-Id")) else None,
        at=date_of(reply.headers),
        hint=hints.hint_for(status=reply.status, code=refusal.code),
    )


def clean_text(text: str) -> str:
    """Return foreign words as one line without control characters or escape sequences, at most 400 characters."""
    line = " ".join(_CONTROL.sub(" ", _ANSI.sub("", text)).split())
    return line if len(line) <= _MAX_TEXT else line[: _MAX_TEXT - 1] + "…"


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
    code = _word(body.get("code")) or _word(body.get("error_code"))
    words = _first(body, *_WORDS)
    more = _first(body, "more_info", "moreInfo")
    if more is None and (kind := _first(body, "type")) and kind.startswith("https://"):
        more = kind
    if more is None and code and re.fullmatch(r"[1-9][0-9]{4}", code) and "message" in body:
        more = _DOCUMENTATION + code
    return Refusal(_with_details(words, body), code, more)


def _xml_of(text: str) -> dict[str, str]:
    """Return the fields of the 2010 API's errors in XML: a RestException's (OAS knows JSON alone)."""
    if "<RestException>" not in text:
        return {}
    names = {"Message": "message", "Code": "code", "MoreInfo": "more_info", "Detail": "detail"}
    found = re.findall(r"<(Message|Code|MoreInfo|Detail)>([^<]*)<", text)
    return {names[name]: html.unescape(value) for name, value in found}


def _with_details(words: str | None, body: Mapping[str, Any]) -> str | None:
    title, detail = _first(body, "title"), _first(body, "detail")
    if words and title and detail and words == detail:
        words = f"{title}: {detail}"
    elif words and detail and words != detail and words != title:
        words = f"{words.rstrip('.')}: {detail}"
    errors = body.get("errors")
    if not isinstance(errors, list):
        return words
    told = [_pointed(error) for error in errors[:3] if isinstance(error, dict)]
    if words is None and not told:  # texts alone are another shape; beside words they are nonsense
        told = [error for error in errors[:3] if isinstance(error, str)]
    return "; ".join(part for part in (words, *told) if part) or None


def _pointed(error: Mapping[str, Any]) -> str:
    words = _first(error, "detail", "message", "title") or ""
    pointer = _first(error, "pointer")
    return f"{words} ({pointer})" if pointer and words else words


def _first(body: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if isinstance(text := body.get(name), str) and text.strip()), None)


def _word(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value).strip() or None


def _sentence(reply: Reply, *, clean: Callable[[str], str]) -> str:
    try:
        phrase = f" {HTTPStatus(reply.status).phrase}"
    except ValueError:
        phrase = ""
    elsewhere = " and points elsewhere" if 300 <= reply.status < 400 else ""
    words = clean(_words_of(reply.text))
    said = f" ({_shape(reply.text)}): {words}" if words else f", without an explanation ({_shape(reply.text)})"
    return f"{reply.host} answered HTTP {reply.status}{phrase}{elsewhere}{said}"


def _words_of(text: str) -> str:
    """Return what a body of no known shape says: the text itself, of a page its title, else what it shows."""
    text = text[:_READ].strip()
    if text.startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        shown = re.sub(r"(?is)<!--.*?-->|<(script|style|head)\b.*?</\1>|<[^>]*>", " ", text)
        text = html.unescape(title[1] if title and title[1].strip() else shown)
    return text if any(char.isalpha() for char in text) else ""


def _shape(text: str) -> str:
    start = text.lstrip()[:1]
    if not start:
        return "an empty body"
    if start == "<":
        return "a page or XML instead of JSON"
    return "JSON of another shape" if start in "{[" else "no JSON"
