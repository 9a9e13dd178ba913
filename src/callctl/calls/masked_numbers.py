"""Numbers and names of people, masked for readers who need not know them: ``--mask-numbers``.

Enough is kept to distinguish calls, and the same text always has the same mask. A phone number keeps its first four
digits at most and its last two, with at least five hidden: ``+1202***42``. A name, the user of a SIP address and the
name of a client keep their first letter and, if they are longer than four, their last:
``sip:a***t@example.com``. A number of less than seven digits, as a short code is, stays where it is no SIP user.

SIDs, times, durations and codes stay as they are. What was masked is not changed by being masked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from callctl.calls.watch_trouble import Forwarded, Trouble

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.call import Call
    from callctl.calls.event import CallEvent
    from callctl.calls.filter import CallFilter
    from callctl.calls.leg import Leg
    from callctl.calls.participation import Participation

T = TypeVar("T")

HIDDEN: Final = "***"
_LEAST_NUMBER = 7  # digits; fewer may be a short code, or a part of anything
_MOST_KEPT = 4  # of the first digits
_LEAST_HIDDEN = 5
_DEEPEST = 50  # arrays and objects within one another, as of other JSON that is read

# A mask as it is written here: of a number, and of a name.
_MASK = r"\+?\d{0,4}\*{3}(\d{2})?|.?\*{3}.?"
# Between the digits of a number, as people write it: spaces of all kinds on one line, and hyphens and dashes.
_SPACE = r"\ \u00a0\u2000-\u200b\u202f"
_DASH = r".\-/\u2010-\u2015\u2212"
# In a URL blanks and brackets are escaped; a form writes a blank as a plus, so that one is such within a number whose
# own plus, or bracket, is escaped.
_BLANK = rf"(?:[{_SPACE}]|%20)"
_OPEN = r"(?:\(|%28)"
_GAP = rf"(?:\)|%29\+?)?{_BLANK}?[{_DASH}]?{_BLANK}?{_OPEN}?"
_BREAK = rf"(?:[{_DASH}{_SPACE})]|%20|%29)"
# What stands for a caller without a number (docs/twilio.md, "Addresses").
_NOBODY = frozenset({"anonymous", "restricted", "private", "unknown", "unavailable", "blocked"})

# The fields of replies and callbacks, in small letters and without underscores.
_PARTIES = frozenset(
    {
        *("from", "to", "caller", "called", "fromformatted", "toformatted", "forwardedfrom", "calledvia"),
        *("callerid", "phonenumber", "client"),
    }
)
_NAMES = frozenset({"callername", "calleridname", "fromname", "toname", "identity"})
_KEYS = frozenset({"digits"})  # that were pressed: a menu's may be seen, a number of any length not
_WHOLLY_HIDDEN = frozenset({"stirpassporttoken"})  # it holds both numbers, encoded
# Within JSON, as in AddOns, a field of such a name is masked by it; one with an escape in it is hidden.
_FIELD = "|".join("_?".join(name) for name in sorted(_PARTIES | _NAMES | _KEYS | _WHOLLY_HIDDEN))
# What stands before an address in a SIP header: in quotes, or at the beginning and behind a comma.
_DISPLAYED = r"(?=[ \t]{0,8}<(?:sips?|tel):)"

# Within a sentence, a URL or a document. What comes first is left alone: the host of a URL, a date, a time, a UUID, a
# SID, the start of one, and a hexadecimal text. One with a digit before a letter is such, and a long one; a short one
# with a number behind its letters is a word and a number. An underscore is no part of a word. Behind three stars is the
# end of a mask.
_IN_TEXT = rf"""(?xi)
    (?P<kept> (?:https?|wss?|postgresql)://[^\s/?\#"'<>]+
            | (?<![^\W_]) (?: [0-9a-f]{{8}} (?:-[0-9a-f]{{4}}){{3}} -[0-9a-f]{{12}}
                           | (?:19|20)[0-9]{{2}} [01][0-9] [0-3][0-9] [0-2][0-9] [0-5][0-9]{{3}}
                           | (?-i: [A-Z]{{2}}[0-9a-fA-F]{{32}} | (?:AC|CA|CF|PN|RE)[0-9a-f]{{1,31}} )
                           | 0x[0-9a-f]+ ) (?![^\W_])
            | (?<![^\W_]) (?<!%) (?: [a-f]*[0-9]+[a-f][0-9a-f]* | [0-9a-f]{{20,}} ) (?![^\W_])
            | (?<![^\W_]) (?<!\+) [0-9]{{4}}-[01][0-9]-[0-3][0-9] (?![0-9\-])
              (?: [T\ ] [0-9]{{2}}:[0-9]{{2}} (?: :[0-9]{{2}} (?:[.,][0-9]+)? )?
                  (?: Z | [+\-][0-9]{{2}}:?[0-9]{{2}} )? )? )
  | (?P<key> "(?P<field> {_FIELD})" [ \t\r\n]{{0,8}} : [ \t\r\n]{{0,8}} ")
    (?P<value> (?:[^"\\<]|\\[^<])*) (?=["<]|\\?(?:<|\Z))
  | (?<=") (?P<quoted> [^"<>]{{1,128}}) (?="{_DISPLAYED})
  | (?P<before> (?<![^,]) [ \t]{{0,8}}) (?P<unquoted> [^\s",:;<>@] [^",:;<>@\r\n]{{0,128}}) {_DISPLAYED}
  | (?P<scheme> (?<![^\W_]) (?:sips?|client)) (?P<colon> :|%3a) (?P<address> [^\s<>"'(),;&]* [^\s<>"'(),;&.:!?])
  | (?P<tag> <(?:client|identity)\b[^<>]*>) (?P<name> [^<]+) (?= </ | <parameter\b | \Z )
  | (?P<plus> \+|%2b) (?P<dialled> [0-9]{{7,}})
  | (?P<spelled> (?<![0-9+]) \+ (?:{_GAP}[0-9]){{7,15}} (?![0-9]|\*{{3}})
               | %2b (?: (?:\+{_OPEN}?|{_GAP}) [0-9]){{7,15}} (?![0-9]|\*{{3}})
               | (?<![0-9+]) (?<![0-9][.:]) (?<!\*{{3}})
                 (?: (?:[0-9] (?=[{_DASH}{_SPACE}(]|%20|%28) {_GAP})? (?:(?<!\S)\(|%28)?[0-9]{{3}} (?={_BREAK}) {_GAP}
                     [0-9]{{3}} (?:[{_DASH}]|{_BLANK}) [0-9]{{4}}
                   | (?:(?<!\S)\(|%28)?0[0-9]{{1,4}} (?={_BREAK}) (?:{_GAP}[0-9]){{5,12}} )
                 (?![0-9]|\*{{3}}) )
  | (?<![0-9]) (?<![0-9][.]) (?<!\*{{3}}) (?P<digits> [0-9]{{7,15}}) (?= x[0-9] | ext | [\W_] | \Z ) (?!\*{{3}})
"""

# Times may be written as seconds since 1970. An application's own fields have any names, so these are whole ones.
_KEPT_FIELDS = frozenset({"timestamp", "starttime", "endtime", "datecreated", "dateupdated"})


@lru_cache(maxsize=4096)
def masked_party(text: str) -> str:
    """Return one end of a call masked: a number in whatever spelling, a SIP address, a client, or a name."""
    if text.lower() in _NOBODY:
        return text
    number = _masked_number(text)
    if number is not None:
        return number
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in ("sip", "sips"):
        return f"{scheme}:{_masked_address(rest)}"
    if colon and scheme.lower() == "sim":  # behind it is a SID
        return text
    if colon and scheme.isalpha() and (scheme.lower() == "client" or "@" not in rest):
        return f"{scheme}:{_masked_user(rest)}"
    return _masked_address(text) if "@" in text else masked_name(text)


def masked_name(text: str) -> str:
    """Return a name masked: its first letter and, of more than four, its last."""
    if not text or re.fullmatch(_MASK, text):
        return text
    return f"{text[0]}{HIDDEN}{text[-1] if len(text) > _MOST_KEPT else ''}" if len(text) > 1 else HIDDEN


@lru_cache(maxsize=256)
def masked(text: str) -> str:
    """Return a sentence, URL or document with each number, SIP user and client in it masked.

    So are the fields of JSON that ``masked_field`` masks by their names, and the names before addresses of SIP headers.

    A number is a plus, or its escape in URLs, and at least seven digits, also in groups; seven to fifteen digits that
    stand alone or behind letters or an underscore; groups of three, three and four; or groups of which the first
    begins with 0. A name that stands in a text by itself can't be recognized.
    """
    return re.sub(_IN_TEXT, _masked_match, text)


def _masked_match(match: re.Match[str]) -> str:
    if match["kept"] is not None:
        return match[0]
    if match["field"] is not None:
        value = match["value"].rstrip()
        shown = HIDDEN if "\\" in value else (_mask_of(match["field"]) or masked)(value)
        return match["key"] + shown + match["value"][len(value) :]
    if match["quoted"] is not None:
        return masked_party(match["quoted"])
    if match["unquoted"] is not None:
        name = match["unquoted"].rstrip()
        return match["before"] + masked_party(name) + match["unquoted"][len(name) :]
    if match["scheme"] is not None:
        is_escaped = match["colon"] != ":"
        address = match["address"].replace("%40", "@") if is_escaped else match["address"]
        is_client = match["scheme"].lower() == "client"
        shown = _masked_user(address) if is_client else _masked_address(address)
        return f"{match['scheme']}{match['colon']}{shown.replace('@', '%40') if is_escaped else shown}"
    if match["tag"] is not None:
        return f"{match['tag']}{_masked_user(match['name'].strip())}"
    if match["spelled"] is not None:
        text = match["spelled"]
        escaped = text[:3] if text[:3].lower() == "%2b" else ""
        plain = re.sub(r"%2[089]|(?!^)\+", " ", "+" + text.removeprefix(escaped) if escaped else text)
        number = _masked_number(plain)
        return text if number is None else escaped + number.removeprefix("+" if escaped else "")
    if match["plus"] is not None:
        return f"{match['plus']}{_masked_digits(match['dialled'])}"
    return _masked_digits(match["digits"])


def _masked_number(text: str) -> str | None:
    """Return a text that is a number masked, a short one as it is; None for any other."""
    digits = re.sub(rf"[()\s{_SPACE}{_DASH}]", "", text)
    plus = "+" if digits.startswith("+") else ""
    digits = digits.removeprefix("+")
    if not digits.isdecimal():
        return None
    return f"{plus}{_masked_digits(digits)}" if plus or len(digits) >= _LEAST_NUMBER else text


def _masked_digits(digits: str) -> str:
    kept = max(0, min(_MOST_KEPT, len(digits) - _LEAST_HIDDEN - 2))
    return f"{digits[:kept]}{HIDDEN}{digits[-2:] if len(digits) > _MOST_KEPT else ''}"


def _masked_user(text: str) -> str:
    """Return the user of a SIP address or the name of a client masked; of digits alone, a short one too."""
    number = _masked_number(text)
    return masked_name(text) if number is None or number == text else number


def _masked_address(text: str) -> str:
    """Return what a SIP address has behind its scheme, with its user masked and without a password."""
    info, at, host = text.rpartition("@")
    if at:
        return f"{_masked_user(re.split('[:;]', info)[0])}@{_without_digits(host)}"
    # A host alone has a dot or a port, or is an address in brackets.
    is_host = re.search(r"[.:\[]", text) is not None and _masked_number(text) is None
    return _without_digits(text) if is_host else _masked_user(text)


def _without_digits(text: str) -> str:
    """Return a text, as a host with its parameters, with all that has seven digits or more masked."""
    return re.sub(r"[0-9]{7,}", lambda match: _masked_digits(match[0]), text)


def masked_json(value: Any) -> Any:
    """Return a JSON value with the numbers and names in it masked, by the names of its fields.

    They are those of REST's replies, of the records of ``watch --json`` and of the forms of callbacks.
    """
    return masked_field("", value)


def masked_field(name: str, value: Any, *, depth: int = _DEEPEST) -> Any:
    """Return the value of a field of a reply, a record or a form masked, as its name requires.

    None stands for what is nested too deeply.
    """
    mask = _mask_of(name)
    if mask is None:
        return value
    if isinstance(value, Mapping):
        return {key: masked_field(key, item, depth=depth - 1) for key, item in value.items()} if depth else None
    if isinstance(value, (list, tuple)):
        return [masked_field(name, item, depth=depth - 1) for item in value] if depth else None
    return mask(value) if isinstance(value, str) else value


@lru_cache(maxsize=512)
def _mask_of(name: str) -> Callable[[str], str] | None:
    """Return how the values of a field are masked; None for a field whose values stay, whatever they are."""
    plain = name.replace("_", "").lower()
    if plain in _PARTIES:
        return masked_party
    if plain in _NAMES:
        return masked_name
    if plain in _KEYS:
        return _without_digits
    if plain in _WHOLLY_HIDDEN:
        return lambda _value: HIDDEN
    return None if plain in _KEPT_FIELDS else masked


def masked_call(call: Call) -> Call:
    """Return a call of REST with its ends, its names and its whole resource masked."""
    return replace(
        call,
        from_=masked_party(call.from_),
        to=masked_party(call.to),
        caller_name=_unless_none(masked_name, call.caller_name),
        forwarded_from=_unless_none(masked_party, call.forwarded_from),
        resource=masked_json(call.resource),
    )


def masked_leg(leg: Leg) -> Leg:
    """Return a leg of the board with its ends, its caller's name and the names of its conference masked."""
    return replace(
        leg,
        from_=masked_party(leg.from_),
        to=masked_party(leg.to),
        caller_name=_unless_none(masked_name, leg.caller_name),
        conference=_unless_none(masked_participation, leg.conference),
    )


def masked_participation(participation: Participation) -> Participation:
    """Return a leg's part in a conference with numbers in its names masked."""
    label = _unless_none(masked, participation.label)
    return replace(participation, name=masked(participation.name), label=label)


def masked_event(event: CallEvent) -> CallEvent:
    """Return an event with its ends, its names and its whole form masked; it is for showing alone."""
    return replace(
        event,
        from_=masked_party(event.from_),
        to=masked_party(event.to),
        caller_name=_unless_none(masked_name, event.caller_name),
        error_message=_unless_none(masked, event.error_message),
        form=tuple((name, masked_field(name, value)) for name, value in event.form),
    )


def masked_action(action: ActionEvent) -> ActionEvent:
    """Return an action with its request and its outcome masked. Who did it stays: that is no caller."""
    request = tuple((name, masked_field(name, value)) for name, value in action.request)
    return replace(action, request=request, outcome=masked(action.outcome))


def masked_filter(call_filter: CallFilter) -> CallFilter:
    """Return a filter with its numbers masked, to show which calls are meant: no call matches it."""
    to, from_ = _unless_none(masked_party, call_filter.to), _unless_none(masked_party, call_filter.from_)
    return replace(call_filter, to=to, from_=from_)


def masked_trouble(trouble: Trouble) -> Trouble:
    """Return a trouble with its sentence, its address and its details masked."""
    return Trouble(
        masked(trouble),
        trouble.cause,
        url=_unless_none(masked, trouble.url),
        status=trouble.status,
        call_sid=trouble.call_sid,
        is_over=trouble.is_over,
        details={name: masked_field(name, value) for name, value in trouble.details.items()},
    )


def masked_note(note: str) -> str:
    """Return a sentence masked; of what was passed on, with the facts beside it."""
    if not isinstance(note, Forwarded):
        return masked(note)
    return Forwarded(
        masked(note),
        url=masked(note.url),
        call_sid=note.call_sid,
        event=note.event,
        status=note.status,
        seconds=note.seconds,
        attempt=note.attempt,
    )


def _unless_none(mask: Callable[[T], T], value: T | None) -> T | None:
    return None if value is None else mask(value)
