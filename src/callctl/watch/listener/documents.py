"""TwiML documents that a watch serves from files, each under a name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from callctl.errors import UsageError, why_unreadable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# Twilio takes documents of 64 kB at most.
_FILE = "FILE is a text file with TwiML, found from the working directory"
_LONGEST = 65536


@dataclass(frozen=True, slots=True)
class Documents:
    """Names and the files they stand for. A file is read anew for each request, so that it can be edited meanwhile."""

    files: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def read_options(cls, options: Sequence[str], *, folder: Path) -> Documents:
        """Read ``NAME=FILE`` options; files are relative to ``folder``.

        Raises:
            UsageError: An option is malformed, or a file is no TwiML.
        """
        files: dict[str, Path] = {}
        for option in options:
            name, equals, file = option.partition("=")
            if not equals or not file or not _NAME.fullmatch(name):
                raise UsageError(f"--serve is not NAME=FILE: {option}", hint="such as --serve survey=survey.xml")
            if name in files:
                raise UsageError(f"--serve names {name} twice", hint="give each document a name of its own")
            try:
                files[name] = folder / Path(file).expanduser()
            except RuntimeError:
                why = "nobody here has that home folder"
                raise UsageError(f"can't read {file} (--serve {name}): {why}", hint=_FILE) from None
        found = cls(files)
        for name in files:
            fault = event_fault(found.text(name))
            if fault is not None:
                raise UsageError(f"{files[name]} (--serve {name}): {fault.message}", hint=fault.hint)
        return found

    def text(self, name: str) -> str:
        """Return a document.

        Raises:
            KeyError: None has this name.
            UsageError: The file can't be read or is no TwiML.
        """
        from callctl.calls.twiml import check_document, stripped

        path = self.files[name]
        try:
            if not path.is_file():
                raise UsageError(f"can't read {path} (--serve {name}): no such file", hint=_FILE)
            if path.stat().st_size > _LONGEST:
                raise UsageError(
                    f"can't serve {path} (--serve {name}): longer than 64 kB, which Twilio does not take",
                    hint="make it shorter, or have it go on at another one by <Redirect>",
                )
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"can't read {path} (--serve {name}): {why_unreadable(error)}", hint=_FILE) from error
        text = stripped(text)  # its check would be one of something else than what is served
        try:
            check_document(text)
        except UsageError as error:
            raise UsageError(f"{path} (--serve {name}): {error.message}", hint=error.hint) from error
        return text


def event_fault(text: str) -> UsageError | None:
    """Return what is wrong with the events that a document's nouns report; None if nothing is.

    Twilio runs such a document all the same, so it is not kept from a call that asks for it.
    """
    from callctl.calls.twiml import check_events

    try:
        check_events(text)
    except UsageError as error:
        return error
    return None
