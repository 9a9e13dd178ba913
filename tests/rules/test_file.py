"""A rules file is checked whole: file, rule, key and the nearest known word, and nothing is half-loaded."""

from datetime import timedelta
from pathlib import Path

import pytest

from callctl.errors import UsageError
from callctl.rules.file import RulesError, load
from callctl.rules.rule import Cancel, Hangup, On, Redirect, Rule, When
from callctl.settings import NamedUrl

GOOD = """
[rule.long-ring]
when = "ringing"
for = "30s"
direction = ["outbound-dial", "outbound-api"]
then = "cancel"

[rule.machine]
when = "answered"
answered_by = ["machine_start", "fax"]
leg = "parent"
to = "+1202*"
then = "hangup"

[rule.survey]
when = { event = "completed" }
leg = "child"
from = "+15005550006"
on = "parent"
then.redirect = "survey"

[rule.children]
when = { status = "in-progress" }
for = "2h"
leg = "parent"
on = "children"
then = "hangup"
"""
ENDS = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


def resolve(name: str) -> NamedUrl:
    if name == "survey":
        return NamedUrl("https://example.com/survey", "GET")
    raise UsageError(f"no URL is named {name!r} (known: survey)", hint="did you mean survey?")


def read(tmp_path: Path, text: str) -> list[Rule]:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return load(path, resolve=resolve, cancel=Cancel())


def test_every_key_becomes_part_of_a_rule(tmp_path: Path) -> None:
    ring, machine, survey, children = read(tmp_path, GOOD)
    both = frozenset({"outbound-dial", "outbound-api"})
    assert ring == Rule(
        name="long-ring",
        when=When(statuses=frozenset({"ringing"}), lasting=timedelta(seconds=30), directions=both),
        then=Cancel(),
    )
    wanted = When(
        statuses=frozenset({"in-progress"}), answered_by=frozenset({"machine_start", "fax"}), leg="parent", to="+1202*"
    )
    assert machine == Rule(name="machine", when=wanted, then=Hangup())
    assert (survey.when.statuses, survey.when.from_) == (ENDS, "+15005550006")
    assert (survey.on, survey.then) == (On.PARENT, Redirect("survey", "https://example.com/survey", "GET"))
    assert survey.follows_dial
    assert survey.settle == timedelta(seconds=1)
    assert (children.on, children.when.lasting) == (On.CHILDREN, timedelta(hours=2))


def test_a_mark_of_the_editor_at_the_beginning_is_no_part_of_the_file(tmp_path: Path) -> None:
    assert len(read(tmp_path, "\ufeff" + GOOD)) == 4


HEAD = "[rule.mine]\n"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[rule.mine\n", "(at line 1, column 11)", "TOML"),
        ("", "there is no rule in it", "[rule.long-ring]"),
        ("[rules.mine]\n", "unknown key 'rules'", "did you mean rule?"),
        (HEAD + 'wen = "ringing"\nthen = "hangup"', "rule mine: unknown key 'wen'", "did you mean when?"),
        (HEAD + 'then = "hangup"', "rule mine: when is missing", None),
        (HEAD + 'when = "ringing"', "rule mine: then is missing", None),
        (HEAD + 'when = "rining"\nthen = "hangup"', "rule mine, when: unknown: 'rining'", "did you mean ringing?"),
        (HEAD + 'when = "in_progress"\nthen = "hangup"', "when: unknown: 'in_progress'", "did you mean in-progress?"),
        (HEAD + 'when = "completed"\nthen = "hangup"', "when: completed is a status and an event", "event ="),
        (HEAD + 'when = {event = "busy"}\nthen = "hangup"', "when.event: unknown: 'busy'", "known are initiated"),
        (HEAD + 'when = {statsu = "busy"}\nthen = "hangup"', "when: unknown key 'statsu'", "did you mean status?"),
        (HEAD + 'when = 5\nthen = "hangup"', "when: it must be a text in quotes", None),
        (HEAD + 'when = "ringing"\nthen = "cancle"', "then: unknown: 'cancle'", "did you mean cancel?"),
        (HEAD + 'when = "ringing"\nthen = "redirect"', "then: where to?", "NAME|URL"),
        (HEAD + 'when = "answered"\nthen.redirect = "survy"', "then.redirect: no URL is named 'survy'", "survey?"),
        (HEAD + 'when = "ringing"\nfor = "soon"\nthen = "cancel"', "for: it is no duration: soon", "such as"),
        (HEAD + 'when = "ringing"\nfor = true\nthen = "cancel"', "for: a duration is a text", None),
        (HEAD + 'when = "ringing"\nfor = 30\nthen = "cancel"', "for: a duration is a text with a unit", 'write "30s"'),
        (HEAD + 'when = "ringing"\nfor = "30"\nthen = "cancel"', "for: it needs a unit: 30", "write 30s"),
        (HEAD + 'when = "ringing"\nleg = "childs"\nthen = "cancel"', "leg: unknown: 'childs'", "did you mean child?"),
        (HEAD + 'when = "ringing"\ndirection = "outbound"\nthen = "cancel"', "direction: unknown", "outbound-api"),
        (HEAD + 'when = "answered"\nanswered_by = "machine"\nthen = "hangup"', "answered_by: unknown", "machine_start"),
        (HEAD + 'when = "busy"\nthen = "hangup"', "on: a leg that has ended can't be changed", 'on = "parent"'),
        (
            HEAD + 'when = "busy"\nfor = "3s"\non = "parent"\nthen = "hangup"',
            "for: a leg that has ended stays so",
            None,
        ),
        (HEAD + 'when = ["ringing", "busy"]\nthen = "hangup"', "when: it names statuses of live legs and", "two rules"),
        (HEAD + 'when = "ringing"\nleg = "parent"\non = "parent"\nthen = "hangup"', "on: a parent leg has no", "child"),
        (
            HEAD + 'when = "ringing"\nleg = "child"\non = "children"\nthen = "hangup"',
            "on: a child leg has no",
            "parent",
        ),
        (
            HEAD + 'when = "ringing"\nto = "12025550103"\nthen = "cancel"',
            "to: no call has an end that is written '12025550103'",
            "did you mean +12025550103?",
        ),
        (HEAD + 'when = "ringing"\nfrom = "+1 202*"\nthen = "cancel"', "from: no call has an end", '"+1202*"'),
        ('[rule.after-dial]\nwhen = "ringing"\nthen = "hangup"', "rule after-dial: the name belongs to a flag", None),
        ("[rule]\nwhen = 'ringing'\nthen = 'hangup'", "a rule has no name", "[rule.long-ring]"),
        ("[rule.'']\nwhen = 'ringing'\nthen = 'hangup'", "a rule has no name", "[rule.long-ring]"),
        ("when = 'ringing'\nthen = 'hangup'", "when: it belongs to no rule", "[rule.long-ring]"),
        (HEAD + 'when = []\nthen = "hangup"', "rule mine, when: the list is empty", "known are queued"),
        (HEAD + 'when = "answered"\nanswered_by = []\nthen = "hangup"', "answered_by: the list is empty", "known are"),
        (HEAD + 'when = "queued"\nthen.redirect = "survey"', "then: only a call in progress can be", "answered"),
        (HEAD + 'when = "answered"\nthen = "cancel"', "then: cancel leaves a call in progress alone", "hangup"),
        (HEAD + "for = " + "9" * 5000, "limit", "TOML"),
        ("rule.mine = 3", "rule mine: a rule is a table", "[rule.mine]"),
    ],
)
def test_what_is_wrong_is_named_by_file_rule_and_key(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(RulesError) as raised:
        read(tmp_path, GOOD + text if text.startswith(HEAD) else text)
    assert raised.value.message.startswith(str(tmp_path / "rules.toml"))
    assert message in raised.value.message
    if hint is not None:
        assert hint in (raised.value.hint or "")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rules.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RulesError, match="can't read the rules file"):
        load(path, resolve=resolve, cancel=Cancel())
