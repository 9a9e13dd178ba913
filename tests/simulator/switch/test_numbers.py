"""Addresses that can be called, in the form that replies show, and Twilio's magic numbers."""

import pytest

from callctl.simulator.switch import numbers


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("+1 202-555-0100", "+12025550100"),
        ("(202) 555.0100", "+12025550100"),
        (" 12025550100", "+12025550100"),
        ("+442079460000", "+442079460000"),
        ("sip:Ann@example.com", "sip:Ann@example.com"),
        ("client:ann smith", "client:ann smith"),
        ("02025550100", "02025550100"),
        ("nobody", "nobody"),
    ],
)
def test_an_address_is_shown_in_one_form(given: str, shown: str) -> None:
    assert numbers.normal(given) == shown


@pytest.mark.parametrize(
    ("kind", "address", "called"),
    [
        ("Number", "202 555 0100", "+12025550100"),
        ("Number", "+15005550001", ""),
        ("Number", "12", ""),
        ("Sip", "sip:ann@example.com", "sip:ann@example.com"),
        ("Sip", "ann@example.com", ""),
        ("Client", "ann", "client:ann"),
        ("Client", "client:ann", "client:ann"),
        ("Client", "a b", ""),
    ],
)
def test_a_noun_of_dial_rings_an_address_or_none(kind: str, address: str, called: str) -> None:
    assert numbers.dialled(kind, address) == called


def test_magic_numbers_get_their_codes() -> None:
    assert [numbers.from_error(f"+1500555000{last}") for last in (1, 2, 6)] == [21212, 21210, None]
    assert numbers.from_error("+12025550100") is None
    assert [numbers.to_error(f"+1500555000{last}") for last in (1, 2, 3, 4, 6)] == [21217, 21214, 21215, 21216, None]


@pytest.mark.parametrize(("address", "may_call"), [("Ann_1.-+", True), ("sip:a@b", True), ("a b", False), ("", False)])
def test_who_may_call_a_sip_address(address: str, may_call: bool) -> None:
    assert numbers.is_caller(address) is may_call
