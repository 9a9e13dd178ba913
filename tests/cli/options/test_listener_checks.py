"""What is checked before anything listens."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from callctl.cli.io.runtime import Runtime
from callctl.cli.options.listener_checks import warn_of_unserved_urls
from callctl.watch.listener.twiml_responder import Documents
from callctl.watch.options import WatchOptions


@pytest.mark.parametrize(
    ("verbs", "unserved"),
    [
        ("<Say>Hello</Say>", None),
        ("<Gather/><Record/><Redirect></Redirect>", None),  # they request the document itself
        ('<Gather action="https://example.com/score"/>', None),
        ('<Gather action="/twiml/next"/>', None),
        ('<Gather action="next?a=b#top"/>', None),
        ('<Dial action="survey"><Number statusCallback="/status">+12025550101</Number></Dial>', None),
        ('<Gather action="/score"/>', "the action of <Gather> is /score"),
        ('<Gather action="score?a=b"/>', "the action of <Gather> is score?a=b"),
        ("<Redirect>../score</Redirect>", "the URL in <Redirect> is ../score"),
        ("<Play>welcome.mp3</Play>", "the URL in <Play> is welcome.mp3"),
        (
            '<Dial><Number statusCallback="/call">+12025550101</Number></Dial>',
            "the statusCallback of <Number> is /call",
        ),
    ],
)
def test_a_document_that_leads_to_nothing_is_warned_of(tmp_path: Path, verbs: str, unserved: str | None) -> None:
    for name, text in (("survey", verbs), ("next", "<Say>Thanks</Say>")):
        (tmp_path / name).write_text(f"<Response>{text}</Response>")
    documents = Documents({name: tmp_path / name for name in ("survey", "next")})
    for forward_to in ((), ("http://127.0.0.1:5000/voice",)):
        said = io.StringIO()
        runtime = Runtime({}, tmp_path, io.StringIO(), io.StringIO(), said)
        warn_of_unserved_urls(runtime, WatchOptions("127.0.0.1", 0, documents=documents, forward_to=forward_to))
        warning = f"callctl: warning: --serve survey: {unserved}, which is not served here: "
        if unserved is None or forward_to:
            assert said.getvalue() == ""
        else:
            assert said.getvalue().startswith(warning)
