"""Run TwiML: documents, one leading to the next, and their verbs in order.

The runner hands each step of a script to its leg, which resumes the script when the step is over, or drops script and
step together.
"""

from collections.abc import Awaitable, Callable, Generator, Iterable

from callctl.simulator.http_requests import Cancel
from callctl.simulator.models import Source
from callctl.simulator.twiml import parser
from callctl.simulator.twiml.document import HTTP_FAILURE, UNKNOWN_VERB, Document, Next, fetch
from callctl.simulator.twiml.steps import Answer, Note, NotImitated, ScriptEnd


class Runner:
    """Drives one script at a time, step by step.

    `begin` begins a step, calls the given function once, later, with the result, and returns how to stop the step. It
    returns None for a step that is done at once.
    """

    def __init__(self, begin: Callable[[object, Callable[[object], None]], Cancel | None]) -> None:
        self._begin = begin
        self._stop: Cancel | None = None
        self._script: Generator[object, object, ScriptEnd] | None = None

    def start(self, script: Awaitable[ScriptEnd], on_end: Callable[[ScriptEnd], None]) -> None:
        """Drop the script that runs and begin another; `on_end` gets how that one ended, unless it is dropped."""
        self.stop()
        driver = script.__await__()
        self._script = driver
        self._advance(driver, None, on_end)

    def stop(self) -> None:
        """Drop the script that runs, if one does."""
        stop, self._stop = self._stop, None
        script, self._script = self._script, None
        if stop is not None:
            stop()
        if script is not None:
            script.close()

    def _advance(
        self, script: Generator[object, object, ScriptEnd], value: object, on_end: Callable[[ScriptEnd], None]
    ) -> None:
        def resume(result: object) -> None:
            if self._script is script:
                self._stop = None
                self._advance(script, result, on_end)

        stop: Cancel | None = None
        while stop is None:
            try:
                step = script.send(value)
            except StopIteration as end:
                self._script = None
                on_end(end.value)
                return
            stop, value = self._begin(step, resume), None
            if self._script is not script:  # the step itself ended the call
                return
        self._stop = stop


async def run_script(
    source: Source, *, params: dict[str, str] | None = None, allowed: Iterable[str] | None = None
) -> ScriptEnd:
    """Run documents, each leading to the next, until one ends.

    The request for the first carries `params` besides the leg's. Only the verbs `allowed` are run, where that is given.
    """
    following, verbs = Next(source, params or {}), None if allowed is None else frozenset(allowed)
    while True:
        loaded = await _load(following)
        if loaded is None:
            return ScriptEnd.FAILED
        items, source = loaded
        outcome = await _run(items, Document(source.url, source.method, following.source, verbs))
        if isinstance(outcome, ScriptEnd):
            return outcome
        following = outcome


async def _load(following: Next) -> tuple[tuple[parser.Item, ...], Source] | None:
    """Return a document's verbs and where it came from, in the end; None where it can't be had."""
    source = following.source
    items, code, failed_url = await _load_one(source, following.params)
    if items is None and source.fallback_url:
        source = Source(source.fallback_url, source.fallback_method)
        params = following.params | {"ErrorCode": str(code), "ErrorUrl": failed_url}
        items, _, _ = await _load_one(source, params)
    return None if items is None else (items, source)


async def _load_one(source: Source, params: dict[str, str]) -> tuple[tuple[parser.Item, ...] | None, int, str]:
    """Return the document's verbs, or the code of why there are none; each failure is noted once."""
    try:
        if source.twiml is not None and not source.url:
            return parser.parse(source.twiml), 0, ""
        reply = await fetch(source.url, source.method, params)
        if not reply.ok:
            return None, HTTP_FAILURE, source.url
        return parser.parse_reply(reply.body, reply.content_type), 0, ""
    except parser.TwimlError as error:
        await Note(error.code, str(error), url=source.url, method=source.method)
        return None, error.code, source.url


async def _run(items: tuple[parser.Item, ...], document: Document) -> Next | ScriptEnd:
    for index, item in enumerate(items):
        verb = item.verb
        if verb is None or not verb.leaves_ringing(is_first=index == 0):
            await Answer()
        for what in item.not_imitated:
            await NotImitated(f"{what} is not imitated")
        if verb is None:
            continue
        if document.allowed is not None and item.name not in document.allowed:
            await Note(UNKNOWN_VERB, f"<{item.name}> is not allowed here; it was passed over")
            continue
        outcome = await verb.run(document)
        if outcome is not None:
            return outcome
    await Answer()  # an empty document answers and ends (inferred)
    return ScriptEnd.DOCUMENT_END
