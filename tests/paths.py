"""Where the repository's files are that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
DATA = TESTS / "data"
"""Its README says what each file is and where its facts come from."""
