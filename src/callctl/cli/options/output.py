"""How calls are written: the options ``--columns`` and ``--csv`` of ``list`` and ``show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer

from callctl.calls.call import FIELDS
from callctl.cli.options import completion
from callctl.cli.options.common import OUTPUT, words_in
from callctl.errors import UsageError, nearest_word

Columns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="FIELD,…",
        autocompletion=completion.columns,
        help="These fields in this order, as sid,to,duration.\n\n"
        "They are the columns of a table, of lines on a pipe and of --csv, and with --json all that each object has. "
        f"Their names are REST's: {', '.join(FIELDS)}.",
        rich_help_panel=OUTPUT,
    ),
]
Csv: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--csv",
        help="Write CSV to stdout, with the names first.\n\n"
        "Quoted as RFC 4180 says, one line a call. A text that a spreadsheet would compute has ' before it; phone "
        "numbers stay as they are.",
        rich_help_panel=OUTPUT,
    ),
]


def read_columns(given: Sequence[str] | None, *, csv: bool, json: bool) -> tuple[str, ...]:
    """Return the fields that were chosen, each once, in their order; none if none were.

    Raises:
        UsageError: One is no field of a call, none is named, or CSV and JSON are both chosen.
    """
    if csv and json:
        raise UsageError("--csv and --json exclude each other", hint="--columns goes with either")
    if given is None:
        return ()
    known = f"the fields are {', '.join(FIELDS)}"
    names = tuple(dict.fromkeys(words_in(given)))
    if not names:
        raise UsageError("--columns names no field", hint=known)
    for name in names:
        if name not in FIELDS:
            near = nearest_word(name, FIELDS)
            meant = "" if near is None else f"did you mean {near}? "
            raise UsageError(f"a call has no field {name}", hint=meant + known)
    return names
