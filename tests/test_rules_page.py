"""docs/rules.md can't go stale: each example on it is read or parsed, and it names all there is to know."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import commands
import pytest
import readme

from callctl.calls import action
from callctl.calls.call import EVENT_NAMES, CallStatus, Direction
from callctl.calls.twiml import check
from callctl.cli.watch.rules import RuleOptions, read_rules
from callctl.rules import file as rules_file
from callctl.rules import rate_limit
from callctl.rules.rule import DEFAULT_SETTLE, FLAG_NAMES, FRESH, LIMIT_GRACE, LIMIT_LEAD, Cancel, On
from callctl.settings import NamedUrl, Settings

PAGE = (readme.DOCS / "rules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SETTINGS = Settings(account_sid="AC" + "0" * 32, urls={"survey": NamedUrl("https://example.com/survey.xml")})


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def load(text: str, folder: Path) -> list[str]:
    """Return the names of the rules in a file with this text."""
    path = folder / "rules.toml"
    path.write_text(text)
    return [rule.name for rule in rules_file.load(path, resolve=SETTINGS.named_url, cancel=Cancel())]


def test_each_example_is_of_a_kind_that_is_tried_here() -> None:
    assert {language for language, _ in BLOCKS} == {"console", "xml", "toml"}


def test_each_rules_file_is_read_and_the_wrong_one_is_refused(tmp_path: Path) -> None:
    (wrong,) = [file["text"] for file in readme.FILE.finditer(PAGE) if file["name"] == "wrong.toml"]
    with pytest.raises(rules_file.RulesError, match="when: unknown: 'rining'"):
        load(wrong, tmp_path)
    good = [text for text in blocks("toml") if text != wrong]
    assert all(load(text, tmp_path) for text in good)
    # They can stand in one file, too: no name is used twice.
    assert len(load("\n".join(good), tmp_path)) == sum(text.count("[rule.") for text in good)


def test_each_key_and_each_word_is_named_and_each_key_has_an_example() -> None:
    examples = "\n".join(blocks("toml"))
    for key in rules_file.KEYS:
        assert re.search(rf"^{key} = ", examples, re.MULTILINE), f"no example has {key}"
    words = {*rules_file.KEYS, *rules_file.ANSWERED_BY, *EVENT_NAMES, *CallStatus, *Direction, *FLAG_NAMES}
    words |= {action.DONE, action.LATE, action.NOT_ENDED, action.REFUSED, action.UNKNOWN, action.DECLINED}
    words |= {action.DRY_RUN}
    assert [word for word in sorted(words) if f"`{word}`" not in PAGE] == []
    assert [word for word in (*On, "parent", "child", "cancel", "hangup") if f'`"{word}"`' not in PAGE] == []


def test_each_option_of_rules_is_named() -> None:
    options = [f"--{field.name.replace('_', '-')}" for field in fields(RuleOptions)]
    assert [option for option in options if option not in PAGE] == []


def test_the_example_in_the_help_of_watch_is_a_rule(tmp_path: Path) -> None:
    lines = commands.shown("watch").splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip().startswith("[rule."))
    assert load("\n".join(lines[first : lines.index("", first)]), tmp_path) == ["agents-ring"]


def test_each_document_is_twiml() -> None:
    for text in blocks("xml"):
        check(text)


def test_the_numbers_are_those_of_the_program() -> None:
    assert FRESH.total_seconds() == 15
    assert "more than 15 s ago" in PAGE
    assert (rate_limit.PER_SECOND, rate_limit.PER_MINUTE) == (10, 100)
    assert "Ten actions a second" in PAGE
    assert "After a hundred in a minute" in PAGE
    assert (LIMIT_LEAD.total_seconds(), LIMIT_GRACE.total_seconds()) == (30, 4)
    assert "Thirty seconds before the end" in PAGE
    assert "Four seconds after the end" in PAGE


def test_how_long_another_leg_is_waited_for_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(
        '[rule.mine]\nwhen = { status = "completed" }\nleg = "child"\non = "parent"\nthen = { redirect = "survey" }\n'
        '[rule.other]\nwhen = "ringing"\nthen = "cancel"\n'
    )
    options: dict[str, Any] = {"after_dial": "survey", "rules": Path("rules.toml")}
    for settle, seconds in ((None, 1.0), ("0s", 0.0), ("2500ms", 2.5)):
        chosen = read_rules(SETTINGS, RuleOptions(**options, settle=settle), cwd=tmp_path)
        waits = {rule.name: rule.settle.total_seconds() for rule in chosen}
        assert waits == {"after-dial": seconds, "mine": seconds, "other": 0.0}
    assert (DEFAULT_SETTLE.total_seconds(), "within a second (`--settle`)" in PAGE) == (1.0, True)
