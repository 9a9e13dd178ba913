"""The examples, as who copies one of their folders runs them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from paths import ROOT
from processes import Piped
from pytest_runs import run_pytest
from simulator.libraries.clients import node_with

EXAMPLES = ROOT / "examples"
JEST, *OPTIONS = json.loads((EXAMPLES / "node" / "package.json").read_text(encoding="utf-8"))["scripts"]["test"].split()


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of one of the examples."""
    copy = tmp_path / "example"
    shutil.copytree(EXAMPLES / request.param, copy, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    return copy


@pytest.mark.parametrize("folder", ["python"], indirect=True)
def test_python(folder: Path) -> None:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:asyncio\n")  # it warns of settings that it misses
    done = run_pytest(folder, "-W", "error")
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("folder", ["node"], indirect=True)
@pytest.mark.parametrize("strict", [True, False])
def test_node(folder: Path, home: Path, *, strict: bool) -> None:
    """What the simulator does not know passes where it is not strict, and the example's test of it fails."""
    node, modules = node_with("twilio", "jest")
    (folder / "node_modules").symlink_to(modules)
    settings = folder / ".env.simulator"
    options = ["--proxy", "--clock", "manual", "--write-env", str(settings), *(["--strict"] if strict else [])]
    with Piped("simulator", "--port", "0", "--proxy-port", "0", *options, home=home) as simulator:
        simulator.until_said("Ctrl-C ends it")
        jest = shlex.join([node, "node_modules/jest/bin/jest.js", "--ci", "--watchman=false", *OPTIONS])
        done = subprocess.run(
            ["sh", "-c", f"set -a; . ./.env.simulator; set +a; exec {jest}"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
    expected = "Tests:       3 passed, 3 total" if strict else "Tests:       1 failed, 2 passed, 3 total"
    assert expected in done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["docs/simulator.md", "docs/simulator-proxy.md", "examples/README.md"])
def test_files_of_tests_run_one_after_the_other(page: str) -> None:
    """They share one simulator, and each begins it again."""
    text = (ROOT / page).read_text(encoding="utf-8")
    typed = [line for line in text.splitlines() if line.startswith("npx ")]
    assert typed == [shlex.join(["npx", JEST, *OPTIONS])]
    assert "--runInBand" in OPTIONS
