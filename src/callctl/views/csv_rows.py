"""Lines of CSV: quoted as RFC 4180 says, one for each record, and without formulas for a spreadsheet.

A line ends with a newline alone, as any line on a pipe. No cell holds a line break, since what is not printable is
replaced.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from callctl.views.terminal_safe import printable

# A text that begins so is computed by spreadsheets when they open the file, in their wide forms as well.
_FORMULA = r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
# In many countries a spreadsheet separates cells by semicolons, and takes a quotation mark within a line for text.
_AFTER_SEMICOLON = rf"(;[\s\"]*)(?={_FORMULA})"
# What begins so and is none: a number, such as a phone number, and what --mask-numbers leaves of one.
_NUMBER = r"[+-]?[0-9]+(\.[0-9]+)?|\+[0-9]{0,4}\*{3}([0-9]{2})?"


def csv_line(cells: Iterable[object]) -> str:
    """Return one record as a line, without its end. Nothing stands for None; yes and no are written as in JSON."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([csv_cell(cell) for cell in cells])
    return text.getvalue()


def csv_cell(value: object) -> str:
    """Return the text of a cell, not quoted yet: a text that a spreadsheet would compute has ``'`` before it.

    So has what follows a semicolon.

    Phone numbers, which begin with a plus, stay as they are: the value of such a formula is the number itself.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    text = re.sub(_AFTER_SEMICOLON, r"\1'", printable(value))
    return f"'{text}" if re.match(_FORMULA, text) and not re.fullmatch(_NUMBER, text) else text
