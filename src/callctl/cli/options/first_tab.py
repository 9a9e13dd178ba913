"""What Typer's ``--install-completion`` leaves undone: zsh's first Tab of a session, and what bash shows of calls."""

from __future__ import annotations

from pathlib import Path

from callctl.cli.options.completion import LISTED_BY_BASH

# zsh reads the file at the first Tab and takes its text for the function's: Typer's only defines another one.
_ANSWER = """
# This file is read at the first Tab, which is to be answered as well.
[[ ${funcstack[1]} == _callctl ]] && _callctl_completion "$@"
"""

# Typer's takes no notice of what bash completes for, and lets a description's characters match names of files.
_IN_BASH = f"""
# Where several calls are listed, each has its number, status and age beside it.
_callctl_completion() {{
    local IFS=$'\\n'
    mapfile -t COMPREPLY < <(env COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD="$COMP_CWORD" \\
        {LISTED_BY_BASH}="$COMP_TYPE" _CALLCTL_COMPLETE=complete_bash "$1")
    return 0
}}
"""


def complete_scripts(home: Path) -> None:
    """Complete the files that Typer wrote for zsh and bash, if it did."""
    for file, text in ((home / ".zfunc" / "_callctl", _ANSWER), (home / ".bash_completions" / "callctl.sh", _IN_BASH)):
        if file.is_file() and text not in (written := file.read_text(encoding="utf-8")):
            file.write_text(f"{written.rstrip()}\n{text}", encoding="utf-8")
