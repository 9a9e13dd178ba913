"""Answers Twilio's requests for TwiML: with documents read from files, or with what an application answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import NoThreadError, UsageError, why_unreadable
from callctl.support.threads import start_in_thread
from callctl.watch.forwarding.forwarder import Forwarder
from callctl.watch.listener.address import DOCUMENTS
from callctl.watch.listener.server import ReceivedRequest

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent

NOT_FOR_TWIML: Final = "this URL is for status callbacks; it has no TwiML to give\n"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FILE = "FILE is a text file with TwiML, found from the working directory"
_LONGEST = 65536  # bytes; Twilio takes no longer document
_READ_LIMIT = 10.0  # seconds to read a document, of the 15 in which Twilio wants it


class TwimlResponder:
    """Answers requests for TwiML that were verified; ``trouble`` is given what can't be answered."""

    def __init__(
        self, documents: Documents, *, forwarder: Forwarder | None, trouble: Callable[[Trouble], None]
    ) -> None:
        self._documents, self._forwarder, self._trouble = documents, forwarder, trouble
        self._reported: set[str] = set()
        self._readings: dict[str, Future[str]] = {}  # the last one of each document

    async def answer(self, path: str, received: ReceivedRequest, event: CallEvent | None = None) -> web.Response:
        """Answer with the document at this path, else with what the first application answers."""
        if not received.is_elsewhere and path.startswith(DOCUMENTS):
            if self._forwarder is not None:
                self._forwarder.put(received, event, asks_for_twiml=True)
            return await self._document(path.removeprefix(DOCUMENTS))
        if self._forwarder is not None:
            return await self._forwarder.answer(received, event)
        what = "a request for TwiML was answered with 404: this URL is for status callbacks; give --serve"
        self._report_once(Trouble(what, Cause.TWIML, url=received.target, status=404))
        return web.Response(status=404, text=NOT_FOR_TWIML)

    async def lacks(self, path: str) -> bool:
        """Return whether the document at this path can't be given now, since its file can't be read or is no TwiML."""
        if not path.startswith(DOCUMENTS):
            return False
        try:
            await self._text(path.removeprefix(DOCUMENTS))
        except UsageError:
            return True
        return False

    async def _text(self, name: str) -> str:
        """Return a document. It is read in a thread, one for each: the file may be on a disk that does not answer.

        Raises:
            UsageError: The file can't be read within ``_READ_LIMIT``, or is no TwiML.
        """
        reading = self._readings.get(name)
        try:
            if reading is None or reading.done():
                reading = self._readings[name] = start_in_thread(partial(self._documents.text, name))
            async with asyncio.timeout(_READ_LIMIT):
                return await asyncio.wrap_future(reading)
        except NoThreadError:
            return self._documents.text(name)  # a caller waits for it
        except TimeoutError:
            why = f"its disk has not answered for {_READ_LIMIT:g} s"
            what = f"can't read {self._documents.files[name]} (--serve {name}): {why}"
            raise UsageError(what, hint="keep it on a disk of this machine") from None

    async def _document(self, name: str) -> web.Response:
        try:
            text = await self._text(name)
        except UsageError as error:
            what = f"a request for TwiML was answered with 500: {error.message}"
            self._trouble(Trouble(what, Cause.TWIML, url=DOCUMENTS + name, status=500))
            return web.Response(status=500)
        if fault := _event_fault(text):  # it was edited since the watch began
            what = f"--serve {name}: {fault.message}: no such callbacks will come; {fault.hint}"
            self._report_once(Trouble(what, Cause.TWIML, url=DOCUMENTS + name))
        return web.Response(text=text, content_type="text/xml", charset="utf-8")

    def _report_once(self, trouble: Trouble) -> None:
        if trouble not in self._reported:
            self._reported.add(trouble)
            self._trouble(trouble)


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
        documents = cls(files)
        for name in files:
            fault = _event_fault(documents.text(name))
            if fault is not None:
                raise UsageError(f"{files[name]} (--serve {name}): {fault.message}", hint=fault.hint)
        return documents

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
        text = stripped(text)  # so that what is checked is what is served
        try:
            check_document(text)
        except UsageError as error:
            raise UsageError(f"{path} (--serve {name}): {error.message}", hint=error.hint) from error
        return text


def _event_fault(text: str) -> UsageError | None:
    """Return what is wrong with the events that a document's nouns report; None if nothing is.

    Twilio runs such a document all the same, so it is not kept from a call that requests it.
    """
    from callctl.calls.twiml import check_events

    try:
        check_events(text)
    except UsageError as error:
        return error
    return None
