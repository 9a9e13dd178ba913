"""What a command loads before it does anything: start-up is what people feel most."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from callctl import __version__
from callctl.cli.commands import Entry, every_command

HEAVY = ("twilio", "aiohttp", "rich", "dotenv", "asyncio", "sqlite3", "requests", "pydantic", "jinja2")


def loaded_by(code: str, *, of: Sequence[str] = HEAVY) -> set[str]:
    """Return which of the heavy packages, or of other modules, a clean interpreter has loaded after some code."""
    probe = f"{code}\nimport sys\nprint(*(name for name in {tuple(of)!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    assert loaded_by("import callctl.cli.main, callctl.cli") == set()


@pytest.mark.parametrize("entry", [entry for _, entry in every_command()], ids=lambda entry: entry.name)
def test_no_command_loads_anything_heavy_before_it_is_called(entry: Entry) -> None:
    assert loaded_by(f"import callctl.cli.{entry.path.partition(':')[0]}") == set()


@pytest.mark.parametrize(
    "args",
    [
        ["hangup", "CA" + "0" * 32],
        ["hangup", "--all", "--yes", "--max", "200"],
        ["list"],
        ["list", "--limit", "7", "--env-file", "/dev/null"],
        ["--version"],
    ],
)
def test_plain_values_are_read_without_pydantic(args: list[str]) -> None:
    code = f"import os\nos.environ.clear()\nfrom callctl.cli.main import main\nmain({args!r})"
    assert loaded_by(code).isdisjoint({"pydantic", "asyncio", "aiohttp", "twilio"})


def test_the_version_is_shown_without_what_commands_work_with() -> None:
    work = (
        "json",
        "email",
        "socket",
        "decimal",
        "logging",
        "callctl.cli.help_pages",
        "callctl.calls",
        "callctl.settings",
    )
    assert loaded_by("from callctl.cli.main import main\nmain(['--version'])", of=work) == set()


def test_a_hang_up_loads_no_store_where_there_is_none(tmp_path: Path) -> None:
    sid, unused = (
        "CA" + "0" * 32,
        ("sqlite3", "callctl.calls.event", "callctl.calls.board", "rich", "pydantic", "aiohttp"),
    )
    settings = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "HOME": str(tmp_path)}
    code = (
        f"import os\nos.environ.clear()\nos.environ.update({settings!r}, CALLCTL_API_URL='http://127.0.0.1:9')\n"
        f"import time\ntime.sleep = lambda _: None\n"
        f"from callctl.cli.main import main\nassert main(['hangup', {sid!r}]) == 6"
    )
    assert loaded_by(code, of=unused) == set()


@pytest.mark.parametrize("code", ["import callctl.api.client", "import callctl.watch.registry.registry"])
def test_importing_a_room_loads_nothing_heavy(code: str) -> None:
    assert loaded_by(code) == set()


def test_the_version_comes_from_one_place() -> None:
    shown = subprocess.run([sys.executable, "-m", "callctl", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"callctl {__version__}\n"
    assert version("callctl") == __version__


def test_an_old_python_is_reported_in_a_sentence() -> None:
    code = (
        "import sys; sys.version_info = (3, 9, 18)\n"
        "try:\n    import callctl\nexcept SystemExit as stopped:\n    print(stopped)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "callctl needs Python 3.11 or later; this is Python 3.9.\n"
