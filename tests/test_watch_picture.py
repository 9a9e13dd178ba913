"""The picture in the README is what the tool draws today."""

from __future__ import annotations

import html
import re

import picture
from paths import ROOT

SVG = (ROOT / "docs" / "watch.svg").read_text(encoding="utf-8")


def painted(svg: str) -> list[tuple[str, str]]:
    """Return each text of the picture with its look; the rest is the frame that rich puts around it."""
    looks = dict(re.findall(r"\.watch-(r\d+) \{ (.*?) \}", svg))
    texts = re.findall(r'<text class="watch-(r\d+)".*?>(.*?)</text>', svg)
    return [(html.unescape(text).replace("\xa0", " "), looks[name]) for name, text in texts]


def test_the_picture_is_what_watch_draws() -> None:
    drawn = painted(picture.drawn())
    assert drawn == painted(SVG), "watch draws something else now: look at what `python scripts/picture.py` makes of it"
    assert len(drawn) > 20


def test_the_picture_shows_a_parent_and_its_legs_with_sids_whole() -> None:
    shown = "".join(text for text, _ in painted(SVG))
    children = re.findall(r"(CA[0-9a-f]{32}) of (CA[0-9a-f]{32})", shown)
    assert len(children) == 2
    assert len({parent for _, parent in children}) == 1


def test_the_picture_fetches_nothing() -> None:
    assert not re.search(r"@font-face|@import|url\((?!#)|href=", SVG)
