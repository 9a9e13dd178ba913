"""Lines of CSV: read back as they were written, one a record, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.views.csv_rows import csv_cell, csv_line
from callctl.views.terminal_safe import printable


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (41, "41"),
        (Decimal("-0.01300"), "-0.01300"),
        ("+12025550100", "+12025550100"),
        ("-0.013", "-0.013"),
        ("+1202***42", "+1202***42"),
        ("sip:ann@example.com", "sip:ann@example.com"),
        ('=HYPERLINK("https://example.com")', '\'=HYPERLINK("https://example.com")'),
        ("+12025550100+A1", "'+12025550100+A1"),
        ("+1 202 555 0100", "'+1 202 555 0100"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("Bob;=1+1;@A1", "Bob;'=1+1;'@A1"),
        ('sip:a; "\uff1d1"@x', 'sip:a; "\'\uff1d1"@x'),
        ("rang; ended", "rang; ended"),
        ("\t=1", "�=1"),
        ("\r=1", "�=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("a\nb", "a�b"),
        ("\x1b[31m", "�[31m"),
    ],
)
def test_a_cell_holds_no_formula_and_no_line_break(value: object, cell: str) -> None:
    assert csv_cell(value) == cell


def test_a_line_is_quoted_where_it_must_be() -> None:
    assert csv_line(["Ann, desk", 'she said "no"', None, 1]) == '"Ann, desk","she said ""no""",,1'


@given(st.lists(st.text() | st.integers() | st.none(), min_size=1))
def test_a_record_is_one_line_and_is_read_back(cells: list[str | int | None]) -> None:
    line = csv_line(cells)
    assert line.splitlines() in ([line], [])
    (read,) = csv.reader(io.StringIO(line, newline="")) if line else [[""]]
    assert read == [csv_cell(cell) for cell in cells]


@given(st.text(alphabet="=+-@\t\r\n 19a'\uff1d.*"))
def test_what_begins_like_a_formula_is_a_number_or_has_a_quote_before_it(text: str) -> None:
    cell = csv_cell(text)
    if cell[:1] in ("=", "@", "\uff1d", "\t", "\r"):
        raise AssertionError(cell)
    if cell[:1] in ("+", "-"):
        assert set(cell[1:]) <= set("0123456789.*")
        assert cell[1:2].isdecimal() or "***" in cell
    assert cell in (printable(text), f"'{printable(text)}")


@given(st.text(alphabet=";=+-@ \"1a'\uff1d"))
def test_nor_does_what_a_semicolon_begins(text: str) -> None:
    for begun in csv_line(["a", text]).split(";")[1:]:
        assert begun.lstrip(' "')[:1] not in tuple("=+-@\uff1d")
    assert csv_cell(text).replace("'", "") == text.replace("'", "")
