"""Values as others write them: numbers, prices, JSON."""

from __future__ import annotations

from decimal import Decimal

import pytest

from callctl.support.parsing import parse_int, parse_price, read_json


@pytest.mark.parametrize(("value", "number"), [("49", 49), (49, 49), ("0", 0), (" 7 ", 7), ("-1", -1)])
def test_numbers_as_text_and_as_numbers(value: object, number: int) -> None:
    assert parse_int(value) == number


@pytest.mark.parametrize("value", [None, "", "x", "4.5", 4.5, True, [], {}])
def test_what_is_no_whole_number(value: object) -> None:
    assert parse_int(value) is None


@pytest.mark.parametrize(("value", "price"), [("-0.03000", "-0.03000"), (-0.004, "-0.004"), ("0", "0"), (0, "0")])
def test_prices(value: object, price: str) -> None:
    assert parse_price(value) == Decimal(price)


@pytest.mark.parametrize("value", [None, "", "free", "NaN", "Infinity", float("inf"), True, []])
def test_what_is_no_price(value: object) -> None:
    assert parse_price(value) is None


@pytest.mark.parametrize("value", ["9" * 16, "-" + "9" * 400, 10**15, -(10**15), True, None, 1.5, "1.5", "1e3"])
def test_what_is_no_whole_number_that_can_be_kept_is_none(value: object) -> None:
    assert parse_int(value) is None


def test_json_with_what_python_can_not_hold_is_read_all_the_same() -> None:
    assert read_json('{"x": NaN, "y": [Infinity, -Infinity]}') == {"x": None, "y": [None, None]}
    digits = "9" * 5000
    assert read_json(f'{{"sid": "CA", "x": {digits}, "y": [NaN]}}') == {"sid": "CA", "x": digits, "y": [None]}
    assert read_json('{"x": "\\ud800", "\\uDfff": ["\\ud83d\\ude00"]}') == {"x": "\ufffd", "\ufffd": ["\U0001f600"]}


def test_what_is_no_number_in_json_is_none() -> None:
    assert read_json('[NaN, Infinity, -Infinity, {"a": NaN}, 1.5]') == [None, None, None, {"a": None}, 1.5]
