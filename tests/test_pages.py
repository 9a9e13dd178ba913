"""README.md and the pages in docs/ can't go stale: what they show is played, what they name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import commands
import pytest
import readme
from paths import ROOT
from typer.main import get_command

from callctl.cli.commands import LazyCommand, every_command
from callctl.cli.main import app

DOCS = sorted(readme.DOCS.glob("*.md"))
PAGES = [
    readme.README,
    *DOCS,
    *(
        ROOT / name
        for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md", "tests/data/README.md")
    ),
]
COMMANDS = dict(every_command())


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """Return the fragments by which GitHub finds the headings of a page."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[str, str]]:
    """Return where a page leads within the repository: each path, and the fragment."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page)))
    return [target.partition("#")[::2] for target in targets if not re.match(r"[a-z]+:", target)]


def commands_typed(page: Path) -> list[str]:
    """Return the command lines of callctl in the shell blocks of a page, one of each pipe."""
    blocks = re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```$", text_of(page), re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^ *(?:\$ )?(?:\w+=\$\()?(callctl .*)$", "\n".join(blocks), re.MULTILINE)
    return [part for line in lines for part in re.split(r"; | \| |\)$", line) if part.startswith("callctl ")]


def commands_named(page: Path) -> list[str]:
    """Return the commands in the running text of a page that could be typed.

    No placeholder stands in them, and none ends with an option, which may want a value.
    """
    named = re.findall(r"`(callctl [^`\n]+)`", text_of(page))
    return [line for line in named if not re.search(r"…|\b[A-Z]+\b|\[| --[a-z-]+$", line)]


def understood(line: str, *, is_whole: bool = True) -> None:
    """Have a command parse its arguments, and not run; where it is only named it needs none."""
    _, *args = shlex.split(line.replace("\\|", "|"), comments=True)
    if args[0].startswith("-"):
        assert args[0] in {"-h", "--help", *(option for param in get_command(app).params for option in param.opts)}, (
            line
        )
        return
    name = next((name for name in (" ".join(args[:2]), args[0]) if name in COMMANDS), None)
    assert name is not None, f"no such command: {line}"
    given = args[len(name.split()) :]
    if is_whole or given:
        LazyCommand(COMMANDS[name]).make_context(name, given).close()


@pytest.mark.parametrize("page", readme.pages(), ids=name_of)
def test_what_stands_below_each_command_is_what_it_prints(page: Path) -> None:
    text = text_of(page)
    real = readme.alike(readme.played(text))
    assert real.splitlines() == readme.alike(text).splitlines(), "look at what scripts/readme.py --write makes of it"


def test_no_terminal_is_shown_that_is_not_played() -> None:
    assert {page for page in PAGES if "```console" in text_of(page)} <= set(readme.pages())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for path, fragment in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert target.is_relative_to(ROOT), path
        if fragment:
            assert fragment in anchors(text_of(target)), f"{path}#{fragment}"


def test_links_with_a_wrong_path_or_heading_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n[one](#a-page) [two](other.md#x) `[three](none)` [four](https://example.com)\n```sh\n# no\n```\n"
    )
    assert links(page) == [("", "a-page"), ("other.md", "x")]
    assert anchors(text_of(page)) == {"a-page"}


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_a_page_begins_with_the_question_that_it_answers(page: Path) -> None:
    title, opening, *_ = text_of(page).split("\n\n")
    assert title.startswith("# ")
    assert re.search(r"\?(\s|$)", opening)


@pytest.mark.parametrize("page", [readme.README, *DOCS], ids=name_of)
def test_each_command_is_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in readme.FILE.finditer(text_of(page)):
        (tmp_path / file["name"]).write_text(file["text"])
    for line in commands_typed(page):
        understood(line)
    for line in commands_named(page):
        understood(line, is_whole=False)


@pytest.mark.parametrize("page", [readme.README, *DOCS], ids=name_of)
def test_each_option_that_is_named_with_its_command_has_it(page: Path) -> None:
    for name, option in re.findall(r"`(?:callctl )?([a-z]+(?: [a-z-]+)?) (--[a-z-]+)", text_of(page)):
        if name in COMMANDS:
            assert f" {option} " in commands.shown(name), f"{name} {option}"


def test_the_readme_leads_to_each_page() -> None:
    named = {(ROOT / path).resolve() for path, _ in links(readme.README)}
    assert [name_of(page) for page in DOCS if page not in named] == []
