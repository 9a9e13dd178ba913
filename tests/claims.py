"""Claims of rules, for tests that need one."""

from __future__ import annotations

from datetime import datetime

from callctl.store.event_store import EventStore
from callctl.store.records import OpenClaim
from callctl.store.sqlite.store import SqliteStore


def claimed(
    store: EventStore, claim: OpenClaim, *, now: datetime, until: datetime, exclusive: bool = False
) -> OpenClaim:
    """Claim an action that nobody has claimed."""
    held = store.claim(claim, now=now, until=until, exclusive=exclusive)
    assert isinstance(held, OpenClaim)
    return held


def forget_claims(store: SqliteStore) -> None:
    """Delete all claims, settled ones too, so that the same action can be tried again."""
    with store._writing.transaction() as connection:
        connection.execute("DELETE FROM claims")
