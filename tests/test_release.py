"""The changelog knows the version that is released."""

from __future__ import annotations

import re
from datetime import date

from paths import ROOT

from callctl import __version__

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_newest_release_is_this_one() -> None:
    unreleased, *released = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert unreleased == "Unreleased"
    versions, dates = zip(*(heading.split(" - ") for heading in released), strict=True)
    assert versions[0] == __version__
    assert sorted(dates, key=date.fromisoformat, reverse=True) == list(dates)
