"""The page of facts about Twilio: what the code cites is there."""

from __future__ import annotations

import re
from pathlib import Path

from paths import ROOT

PAGE = (ROOT / "docs" / "twilio.md").read_text(encoding="utf-8")


def cited() -> dict[str, str]:
    """Return each heading that a comment or docstring cites, with a file that does."""
    headings = {}
    for folder in ("src", "tests", "scripts", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = re.sub(r"\n *#? *", " ", path.read_text(encoding="utf-8"))  # where a citation breaks over a line
            headings.update(dict.fromkeys(re.findall(r'docs/twilio\.md,[^"]?"([^"]+)"', text), str(path)))
    return headings


def test_every_heading_that_is_cited_is_there() -> None:
    headings = set(re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE))
    missing = {heading: path for heading, path in cited().items() if heading not in headings}
    assert len(cited()) > 10
    assert not missing


def test_nothing_cites_a_page_that_a_clone_does_not_have() -> None:
    for folder in ("src", "tests", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"\bsheet,? section", path.read_text(encoding="utf-8")) or path == Path(__file__), path
