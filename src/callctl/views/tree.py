"""Calls grouped into families: child legs under their parent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from callctl.calls.call import Call
from callctl.views.table import Row


@dataclass(slots=True)
class Family:
    """A call with its child legs, the first dialled first; ``call`` is None if only children of it were found."""

    sid: str
    call: Call | None = None
    children: list[Call] = field(default_factory=list)


def families(calls: Iterable[Call]) -> list[Family]:
    """Group calls that come newest first. A family stands where its newest leg stood.

    A leg dialled by a child leg is shown as that child's: it is a family of its own, after the one of its parent.
    """
    found: dict[str, Family] = {}
    for call in calls:
        parent = call.parent_call_sid
        if parent is None or parent == call.sid:
            found.setdefault(call.sid, Family(call.sid)).call = call
        else:
            found.setdefault(parent, Family(parent)).children.insert(0, call)
    return list(found.values())


def rows(grouped: Iterable[Family]) -> Iterator[Row]:
    """Yield the rows of a table: each parent, then its children."""
    for family in grouped:
        yield Row(family.sid, family.call)
        for child in family.children:
            yield Row(child.sid, child, depth=1)


def members(grouped: Iterable[Family]) -> Iterator[Call]:
    """Yield the calls that were found, in the order of the tree."""
    return (row.call for row in rows(grouped) if row.call is not None)


def to_json(family: Family, *, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a family: the parent's fields with ``children``; of a parent that was not found, its ``sid`` alone."""
    parent: dict[str, Any] = {"sid": family.sid} if family.call is None else family.call.to_json()
    return {**parent, **extra, "children": [{**child.to_json(), **extra} for child in family.children]}
