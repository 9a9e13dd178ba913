"""Items in order per call: the first item of a call may be worked on, and its later ones wait behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class InOrder(Generic[T]):
    """Lines of items, one for each call: those of different calls don't wait for each other."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        """Yield all items, those of each line in their order."""
        for line in self._lines.values():
            yield from line

    def add(self, call: Hashable, item: T) -> bool:
        """Add an item; return whether it is the first of its call, so that it may be worked on."""
        self._count += 1
        line = self._lines.get(call)
        if line is not None:
            line.append(item)
            return False
        self._lines[call] = deque((item,))
        return True

    def first(self, call: Hashable) -> T:
        """Return the first item of a call."""
        return self._lines[call][0]

    def remove_first(self, call: Hashable) -> bool:
        """Remove the first item of a call; return whether another is the first now, and may be worked on."""
        self._count -= 1
        line = self._lines[call]
        line.popleft()
        if not line:
            del self._lines[call]
        return bool(line)
