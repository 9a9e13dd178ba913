"""Resources as the API shows them."""

from __future__ import annotations

import pytest

from callctl.simulator.rest.serializers import formatted


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("+12025550100", "(202) 555-0100"),
        ("+442079460000", "+442079460000"),
        ("+1202555010", "+1202555010"),
        ("sip:ann@example.com", "sip:ann@example.com"),
    ],
)
def test_a_us_number_is_shown_as_people_write_it(address: str, shown: str) -> None:
    assert formatted(address) == shown
