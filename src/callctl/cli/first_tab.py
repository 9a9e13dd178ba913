"""What Typer's ``--install-completion`` leaves undone in zsh: the first Tab of a session is answered too."""

from __future__ import annotations

from pathlib import Path

# zsh reads the file at the first Tab and takes its text for the function's: Typer's only defines another one.
_ANSWER = """
# This file is read at the first Tab, which is to be answered as well.
[[ ${funcstack[1]} == _callctl ]] && _callctl_completion "$@"
"""


def answer_first_tab(home: Path) -> None:
    """Complete the file that Typer wrote for zsh, if it did."""
    file = home / ".zfunc" / "_callctl"
    if file.is_file() and _ANSWER not in (text := file.read_text(encoding="utf-8")):
        file.write_text(f"{text.rstrip()}\n{_ANSWER}", encoding="utf-8")
