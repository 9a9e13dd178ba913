"""Text of others steers no terminal, in words and as JSON, and JSON loses nothing by that."""

from __future__ import annotations

import io
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.views.terminal_safe import (
    SafeStream,
    allow_colours,
    json_text,
    plain_console,
    printable,
    printable_lines,
    unfiltered,
)

COLOURS = re.compile("\x1b\\[[0-9;]*m")
HOSTILE = [
    "\x1b[2J",
    "\x9b2J",
    "\x7f",
    "a\u202eb",
    "\u2028",
    "\U000e0041",
    "\ud800",
    "\r\n\t\b",
    "\u200b",
    "\ue000",
    "\U0010fffd",
    "a" + "\u0301" * 9,
    # Letters and symbols that show as nothing.
    *"\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U00013441\U00013442\U0001d159",
]
# Names and words that people have, in scripts whose letters have marks, or no blanks between words; and what is drawn
# as one sign by several characters.
WRITTEN = [
    *("नमस्ते श्रीमती", "বাংলা", "தமிழ்நாடு", "ಕನ್ನಡ", "മലയാളം", "සිංහල", "กำนัน ภูมิพล", "ລາວ", "ကြွေးကြော်", "ភាសាខ្មែរ", "བོད་ཡིག་ཧྐྵྨླྺྼྻྂ"),
    *(
        "한국어",
        "\u1112\u1161\u11ab\u1100\u116e\u11a8",
        "日本語 葛\U000e0100",
        "e\u0323\u0302",
        "שָׁלוֹם",
        "مُحَمَّد",
        "Ελλάς",
        "Україна",
        "❤\ufe0f",
        "👍🏽",
        "🇩🇪",
        "⠓⠑",
    ),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_steers_is_replaced_and_in_json_escaped(text: str) -> None:
    output = json_text({"to": text})
    assert printable(output) == output
    assert json.loads(output) == {"to": text}
    assert "�" in printable(text)


@given(value=st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_says_what_was_put_in(value: object) -> None:
    output = json_text(value)
    assert json.loads(output) == value
    assert printable(output) == output


def test_what_steers_nothing_stays_readable() -> None:
    assert json_text({"to": "São Paulo ✓"}) == '{"to": "São Paulo ✓"}'
    assert json_text({"to": "São\xa0Paulo \u202e\x7f"}) == '{"to": "São\xa0Paulo \\u202e\\u007f"}'


@pytest.mark.parametrize("text", WRITTEN)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text
    assert json.loads(json_text([text])) == [text]
    assert json_text([text]) == f'["{text}"]'


def test_of_marks_on_one_letter_so_many_stay_as_a_script_has() -> None:
    """Higher stacks are drawn over the lines above and below."""
    marks = [char for char in map(chr, range(0x110000)) if unicodedata.category(char).startswith("M")]
    drawn = [char for char in marks if printable(char) == char]
    assert len(marks) - len(drawn) == 2  # vowels that show as nothing
    assert all(printable(f"a{char * 12}b") == f"a{char * 8}����b" for char in drawn)
    assert printable("क\u093e" * 40) == "क\u093e" * 40


def steers(text: str) -> set[str]:
    """Return what in a text could steer a terminal, other than the ends of lines and tabs."""
    unsafe = {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}
    return (unsafe | {char for char in text if char in HOSTILE}) - {"\n", "\t"}


@given(text=st.text() | st.lists(st.sampled_from([*HOSTILE, "\x1b[31m", "\x1b[0m", "a", "\n"])).map("".join))
@pytest.mark.parametrize("allows_colours", [False, True])
def test_nothing_that_passed_a_safe_stream_steers(allows_colours: bool, text: str) -> None:
    written = io.StringIO()
    stream = SafeStream(written)
    if allows_colours:
        allow_colours(stream)  # type: ignore[arg-type]
    assert stream.write(text) == len(text)
    stream.writelines([text, "\x1b]0;title\x07"])
    output = written.getvalue()
    assert not steers(COLOURS.sub("", output) if allows_colours else output)
    assert output.count("\n") == 2 * text.count("\n")


def test_a_safe_stream_is_a_stream_like_the_one_that_it_writes_to() -> None:
    written = io.StringIO()
    stream = SafeStream(written)
    print("São Paulo\t✓", "●└", file=stream, flush=True)
    assert written.getvalue() == "São Paulo\t✓ ●└\n"
    assert unfiltered(stream) is unfiltered(written) is written  # type: ignore[arg-type]
    assert not stream.isatty()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_console_paints_and_lets_nobody_else_do_so(text: str) -> None:
    from rich.text import Text

    written = io.StringIO()
    console = plain_console(SafeStream(written), environ={"FORCE_COLOR": "1", "TERM": "xterm"}, width=60)  # type: ignore[arg-type]
    console.print(Text(f"a{text}b", style="red"), f"c{text}d")
    output = written.getvalue()
    assert output.startswith("\x1b[31m")
    assert not steers(output.replace("\x1b[31m", "").replace("\x1b[0m", ""))


def test_json_holds_no_number_that_is_not_finite() -> None:
    odd = {"a": float("nan"), "b": [float("inf"), -float("inf")], "c": 0.5}
    assert json_text(odd) == '{"a": null, "b": [null, null], "c": 0.5}'


def test_json_ends_where_a_value_holds_itself() -> None:
    circle: dict[str, object] = {}
    circle["a"] = circle
    assert re.fullmatch(r'(\{"a": )+null\}+', json_text(circle))


@pytest.mark.parametrize("size", ["9" * 30, "9" * 5000, "0", "-3", "٣٣", "10000", "x", ""])
@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
def test_a_size_that_no_terminal_has_counts_as_none(name: str, size: str) -> None:
    given = {"COLUMNS": "90", "LINES": "30", "TERM": "xterm"}
    without = {other: text for other, text in given.items() if other != name}
    console, usual = (plain_console(io.StringIO(), environ=environ) for environ in (given | {name: size}, without))
    assert console.size == usual.size


@given(
    st.lists(st.sampled_from(["a", "\n", "\t", "\x1b", "\u202e", "@", "sip:ann:word", "sip:ann:word@example.com", " "]))
)
def test_a_text_of_several_lines_is_made_safe_line_by_line(parts: list[str]) -> None:
    text = "".join(parts)
    assert printable_lines(text) == "\n".join(
        "\t".join(printable(cell) for cell in line.split("\t")) for line in text.split("\n")
    )
