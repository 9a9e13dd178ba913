"""What the account owns besides calls: its phone numbers and applications, and who handles the calls to them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from callctl.simulator.models import Source, Subscription

NewSid = Callable[..., str]
# What a number or an application may be set to that can't be done here: the field, its value, and what it is called.
NOT_IMITATED = (
    ("voice_caller_id_lookup", True, "VoiceCallerIdLookup"),
    ("voice_receive_mode", "fax", "VoiceReceiveMode fax"),
)


@dataclass(frozen=True, slots=True)
class Handling:
    """Where the document of a call is (None: nowhere), and where the end of the call is reported.

    `not_imitated` says in words what else was to be done with the call, and can't be done here.
    """

    source: Source | None
    subscription: Subscription | None
    not_imitated: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Owned:
    """A phone number or an application; `fields` are those that the API shows and lets one change."""

    sid: str
    ordinal: int
    created: datetime
    updated: datetime
    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """Return a field that is a text; empty where it is not set."""
        return str(self.fields[name] or "")

    @property
    def address(self) -> str:
        """By what it is called: its number, or `app:` and its SID."""
        return str(self.fields.get("phone_number") or f"app:{self.sid}")

    @property
    def handling(self) -> Handling:
        """What its own URLs say. Its callback comes at the end of a call alone: it can't choose events (OAS)."""
        url, callback = self.text("voice_url"), self.text("status_callback")
        fallback = self.text("voice_fallback_url")
        return Handling(
            Source(url, self.text("voice_method"), None, fallback, self.text("voice_fallback_method")) if url else None,
            Subscription(callback, self.text("status_callback_method")) if callback else None,
            tuple(words for field, value, words in NOT_IMITATED if self.fields.get(field) == value),
        )


class Shelf:
    """All that the account owns of one kind."""

    def __init__(self, prefix: str, *, new_sid: NewSid, wall: Callable[[], datetime]) -> None:
        self._prefix = prefix
        self._new_sid = new_sid
        self._wall = wall
        self._owned: dict[str, Owned] = {}
        self._by_address: dict[str, Owned] = {}
        self._count = 0

    def add(self, fields: Mapping[str, object], *, is_kept: bool = True) -> Owned:
        """Add one, and return it; one that is not to be kept is only made."""
        self._count += 1
        now = self._wall()
        owned = Owned(self._new_sid(self._prefix, self._count), self._count, now, now, fields)
        if is_kept:
            self._owned[owned.sid] = owned
            self._by_address[owned.address] = owned
        return owned

    def find(self, sid: str) -> Owned | None:
        """Return the one with this SID."""
        return self._owned.get(sid)

    def at(self, address: str) -> Owned | None:
        """Return the one that is called by this address."""
        return self._by_address.get(address)

    def change(self, owned: Owned, changes: Mapping[str, object]) -> None:
        """Set some of its fields."""
        owned.fields = {**owned.fields, **changes}
        owned.updated = self._wall()

    def remove(self, owned: Owned) -> None:
        """Own it no longer."""
        self._owned.pop(owned.sid, None)
        self._by_address.pop(owned.address, None)

    def restorer(self) -> Callable[[], None]:
        """Return what puts everything back as it is now."""
        owned, count = {each: (each.fields, each.updated) for each in self._owned.values()}, self._count

        def restore() -> None:
            self._count = count
            self._owned = {each.sid: each for each in owned}
            self._by_address = {each.address: each for each in owned}
            for each, (kept_fields, updated) in owned.items():
                each.fields, each.updated = kept_fields, updated

        return restore

    def newest_first(self) -> Iterator[Owned]:
        """Yield all, the newest first."""
        return reversed(self._owned.values())


class Possessions:
    """The account's phone numbers and applications."""

    def __init__(self, *, new_sid: NewSid, wall: Callable[[], datetime]) -> None:
        self.numbers = Shelf("PN", new_sid=new_sid, wall=wall)
        self.applications = Shelf("AP", new_sid=new_sid, wall=wall)

    def restorer(self) -> Callable[[], None]:
        """Return what puts everything back as it is now."""
        shelves = self.numbers.restorer(), self.applications.restorer()

        def restore() -> None:
            for each in shelves:
                each()

        return restore

    def number(self, address: str) -> Owned | None:
        """Return the account's phone number with this address."""
        return self.numbers.at(address)

    def handling_at(self, address: str) -> Handling | None:
        """Return who handles the calls to an address, where it is the account's own, and has no trunk."""
        number = self.number(address)
        if number is not None:
            return None if number.text("trunk_sid") else self.handling_of(number)
        application = self.applications.at(address)
        return None if application is None else application.handling

    def handling_of(self, number: Owned) -> Handling:
        """Return who handles the calls to a number: its application, where it has one, instead of its own URLs."""
        application = self.applications.find(number.text("voice_application_sid"))
        return number.handling if application is None else application.handling

    def remove_application(self, application: Owned) -> None:
        """Own an application no longer; the numbers that were its own are without (the page of Applications)."""
        self.applications.remove(application)
        for number in self.numbers.newest_first():
            named = {name: None for name in APPLICATION_OF_NUMBER if number.fields[name] == application.sid}
            if named:
                self.numbers.change(number, named)


APPLICATION_OF_NUMBER = ("voice_application_sid", "sms_application_sid")
