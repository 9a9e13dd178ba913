"""ActionEvent: a request to change a live call, by a command or a rule, and the API's answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from callctl.errors import without_secrets
from callctl.support.dates import format_date, parse_written_date

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent

DONE: Final = "done"
LATE: Final = "too-late"  # the call got there first: an ordinary outcome
NOT_ENDED: Final = "not-ended"  # Twilio took the request, and the leg rings on
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"  # the request went out, or may have; no answer was recorded
DECLINED: Final = "declined"  # nothing was sent; the outcome says why
DRY_RUN: Final = "dry-run"


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """One request to change one leg.

    ``at`` is the moment just before the request went out: callbacks of its effect may arrive before its answer.
    ``action`` is redirect, hangup, cancel or limit; ``request`` the form that was sent; ``outcome`` what came of it, as
    a sentence; ``status`` the CallStatus the API answered with, or None if it refused. ``rule`` names the rule that
    made the request; None stands for a command, and then ``by`` says whose: ``user@host``, or None where that was not
    recorded. ``about`` is the leg that the rule is about, if not the one that was changed, ``result`` one of the words
    above, and ``code`` the API's code where it refused.
    """

    at: datetime
    call_sid: str
    action: str
    request: tuple[tuple[str, str], ...]
    outcome: str
    status: str | None = None
    rule: str | None = None
    about: str | None = None
    result: str = DONE
    code: str | None = None
    by: str | None = None

    @property
    def may_have_changed_it(self) -> bool:
        """Whether the leg was ended or given other TwiML by this, or may have been."""
        return self.action in ("redirect", "hangup", "cancel") and self.result in (DONE, UNKNOWN)

    @property
    def may_have_ended_it(self) -> bool:
        """Whether the leg was ended by this, or may have been."""
        return self.action != "redirect" and self.may_have_changed_it

    def may_have_caused(self, event: CallEvent) -> bool:
        """Return whether an event may report what this did: the end of the leg or of its child, and it came later."""
        is_related = self.call_sid in (event.call_sid, event.parent_call_sid)
        return self.may_have_ended_it and event.is_final and is_related and event.received_at >= self.at

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ActionEvent:
        """Read back what :meth:`to_record` gave.

        Raises:
            ValueError: It is no record of an action.
        """
        at = parse_written_date(record.get("at"))
        if at is None:
            raise ValueError("not the record of an action")
        return cls(
            at=at,
            call_sid=str(record.get("call_sid", "")),
            action=str(record.get("action", "")),
            request=tuple((str(name), str(value)) for name, value in record.get("request", ())),
            outcome=str(record.get("outcome", "")),
            status=record.get("status"),
            rule=record.get("rule"),
            about=record.get("about"),
            result=str(record.get("result", DONE)),
            code=record.get("code"),
            by=None if record.get("rule") else record.get("by"),
        )

    def to_record(self) -> dict[str, Any]:
        """Return what a store keeps: JSON values only, and no password of a URL or of a ``<Sip>`` noun."""
        return {
            "at": format_date(self.at),
            "call_sid": self.call_sid,
            "action": self.action,
            "request": tuple((name, without_secrets(value)) for name, value in self.request),
            "outcome": without_secrets(self.outcome),
            "status": self.status,
            "rule": self.rule,
            "about": self.about,
            "result": self.result,
            "code": self.code,
            "by": self.rule or self.by,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``watch --json`` writes."""
        record = self.to_record()
        return {"v": 1, "type": "action", **record, "request": dict(record["request"])}


def left_dial_by(sid: str, actions: Iterable[ActionEvent]) -> ActionEvent | None:
    """Return the redirect by which a child leg left its ``<Dial>``; None if none is known.

    It is the first that was done: from then on neither the end nor a redirect of its parent reaches it, and the
    parent's Dial is over (docs/twilio.md, "Redirects and the other leg"). ``actions`` are in the store's order: the
    clocks of those who sent them may differ.
    """
    done = (
        action for action in actions if action.call_sid == sid and action.action == "redirect" and action.result == DONE
    )
    return next(done, None)


def left_dial_at(sid: str, actions: Iterable[ActionEvent], *, joined: datetime | None) -> datetime | None:
    """Return when a child leg left its ``<Dial>``; None if that is not known.

    ``joined`` is when it joined a conference, if it did: then it was redirected there, by whomever, by then at the
    latest.
    """
    redirect = left_dial_by(sid, actions)
    return joined if redirect is None else redirect.at
