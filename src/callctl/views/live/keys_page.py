"""The page about the keys of the live table, and about the words in it."""

from __future__ import annotations

from collections.abc import Sequence

_KEYS = (
    ("↑ ↓  j k", "select the row above, below"),
    ("PgUp PgDn  Ctrl-B Ctrl-F", "select a page further up, down"),
    ("g G", "select the first, the last"),
    ("Enter", "the leg's page: timeline, SIP code, errors, warnings"),
    ("x", "hang up the selected leg; f then: its whole family"),
    ("r", "redirect it to a named URL, or to one that is typed"),
    ("space", "mark the leg; x and r then act on all marked ones"),
    ("a", "mark all that the filter shows now"),
    ("/", "filter: ringing, live, +1202, >2m, …; Esc clears it"),
    ("s", "sort: by attention, by time in status, by start"),
    ("c C", "copy the SID, the parent's SID"),
    ("d", "dismiss the selected failure"),
    ("p", "hold the picture, and go on"),
    ("?", "this page"),
    ("q", "back; on the table: leave"),
    ("Ctrl-C", "leave, always; once more: at once"),
    ("Ctrl-Z", "stop until `fg`"),
)
# The keys of a table that may change calls.
CHANGING_KEYS = ("x", "r", "space", "a")
_WORDS = (
    ("polled", "found by REST: no callback reported this status"),
    ("missed", "found by REST: no callback reported the end"),
    ("late", "the callback came after one of a later step"),
    ("unverified", "its signature was not checked"),
    ("!", "rings too long, or failed in the last five minutes"),
    ("▌ * ◆", "selected, marked, both"),
    ("in-prog", "in-progress, where there is little room"),
)
_WIDTH = 26


def keys_page(paste_guide: Sequence[str], *, may_act: bool = True) -> list[str]:
    """Return the lines of the page; ``paste_guide`` says how calls report here.

    Unless it ``may_act``, the table has no keys that change calls, nor those that mark legs for them.
    """
    keys = [entry for entry in _KEYS if may_act or entry[0] not in CHANGING_KEYS]
    guide = ["", *paste_guide] if paste_guide else []
    return ["KEYS", *map(_entry, keys), "", "WORDS", *map(_entry, _WORDS), *guide]


def _entry(item: tuple[str, str]) -> str:
    return f"{item[0].ljust(_WIDTH)}{item[1]}"
