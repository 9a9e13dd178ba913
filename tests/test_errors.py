"""Passwords in texts, and the word that was meant."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.errors import nearest_word, shortened, without_secrets, without_sip_passwords, without_url_passwords

URL = "https://ann:s3cret@app.example.com/x?y=1"


def once(text: str, safe: str = "") -> str:
    return quote(text, safe=safe)


@pytest.mark.parametrize("address", ["sip:ann:QQQQQQQQQQQQ@pbx.example.com", URL.replace("s3cret", "QQQQQQQQQ")])
@given(before=st.text(alphabet="ab c", max_size=60), most=st.integers(1, 120))
def test_what_is_left_of_a_password_that_is_cut_is_no_part_of_it(address: str, before: str, most: int) -> None:
    text = f"{before} {address} and more"
    short = shortened(text, most)
    assert "Q" not in short
    assert len(short) <= most
    assert shortened(short, most) == short
    plain = f"{before} of ann@pbx"
    assert shortened(plain, len(plain)) == plain


@pytest.mark.parametrize(
    "text",
    [
        once(URL),
        once(URL).lower(),
        once(once(URL)),
        once(once(once(URL))),
        once(URL, "/"),
        once(URL, ":"),
        once(URL, ":/"),
        once(URL, ":@"),
        once(URL, "@"),
        once(URL, "/@"),
        once("https://ann:s3cret%2F&?s3cret@app.example.com/x".replace("?", "%3F")),
        once(once("https://ann:s3cret%26@app.example.com/x")),
        once("https://s3cret@app.example.com"),
        "sip%3Aann%3As3cret%40pbx.example.com",
        once(once("sips:ann:s3cret@pbx.example.com")),
        once("sip:ann:s3cret@pbx.example.com", ":"),
        f"x?Next={once(once('https://b.example.com/?To=sip:ann:s3cret@pbx.example.com'))}",
    ],
)
@pytest.mark.parametrize("around", ["{}", "https://app.example.com/x?FailUrl={}&email=a%40b.example", 'a "{}" b {} c'])
def test_a_password_in_an_encoded_url_is_left_out(text: str, around: str) -> None:
    shown = without_secrets(around.format(text, text))
    assert "s3cret" not in shown
    assert "***" in shown
    assert without_secrets(shown) == shown


def test_what_is_left_out_of_an_encoded_url() -> None:
    outer = "https://app.example.com/x?FailUrl={}&email=bob%40b.example"
    assert without_secrets(outer.format(once(URL))) == outer.format(once(URL).replace("s3cret", "***"))
    twice = outer.format(once(once(URL)))
    assert without_secrets(twice) == twice.replace("s3cret", "***")


@pytest.mark.parametrize(
    "text",
    [
        outer.format(inner)
        for outer, inner in product(
            ["{}", "https://app.example.com/x?FailUrl={}&email=bob%40b.example"],
            [
                once("https://app.example.com/x?email=bob@b.example"),
                once(once("https://app.example.com/x?email=bob@b.example")),
                once("https://app.example.com") + "&email=bob%40b.example",
                once("sip:ann@pbx.example.com:5060"),
                "100% @ home %zz %40",
            ],
        )
    ],
)
def test_an_encoded_url_without_a_password_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("clean", [without_secrets, without_url_passwords, without_sip_passwords])
@pytest.mark.parametrize(
    "text",
    [
        "x@ " + "sip:" * 300_000,
        "x%40 " + "sip%3A" * 200_000,
        "%40 " + "sip:a:" * 200_000,
        "x@" * 32_000,
        "://" * 300_000 + "%",
        "://a%40" * 9_000,
        "%3A%2F%2F" * 100_000,
        ("%3A//" + "%25" * 9) * 2_000,
        "%" + "25" * 32_000,
        "".join(f"%{'25' * level}3A%{'25' * level}2F%{'25' * level}2F" for level in range(1, 100)) * 2,
        "sip:a:" + "%40" * 21_000 + " @",
    ],
    ids=lambda text: text[:20],
)
def test_a_long_text_is_read_in_linear_time(clean: Callable[[str], str], text: str) -> None:
    clean(text)  # what is quadratic takes longer than the suite's time limit for a test


PARTS = ("://", ":", "/", "@", "%3A", "%2F", "%40", "%25", "%253A", "25", "40", "sip", "a", "&", "%26", "?", " ")


@given(st.lists(st.sampled_from(PARTS)).map("".join))
def test_leaving_out_passwords_twice_is_as_once(text: str) -> None:
    shown = without_secrets(text)
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("survy", ["survey", "menu"], "survey"),
        ("After_Hours", ["after-hours"], "after-hours"),
        ("answerd_by", ["answered_by"], "answered_by"),
        ("xyz", ["survey"], None),
        ("survey", [], None),
    ],
)
def test_the_nearest_word(word: str, known: list[str], meant: str | None) -> None:
    assert nearest_word(word, known) == meant
