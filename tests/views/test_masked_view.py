"""A view of lines, which gets nothing but masks: of the board at the start, of events, actions, notes and trouble."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from events import moment
from legs import PARENT, board_of, callback, family

from callctl.calls.action import ActionEvent
from callctl.calls.filter import CallFilter
from callctl.calls.watch_trouble import Cause, Forwarded, Trouble
from callctl.views.filtered_view import FilteredView
from callctl.views.jsonl import JsonLinesView
from callctl.views.lines import LineView
from callctl.views.masked_view import MaskedView
from callctl.views.view import View, WatchState

APPLICATION = "http://127.0.0.1:3000/status?n=%2B12025550142"
HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)
TRUE_NUMBER = re.compile("[0-9]555[0-9]|agent@|client:(?!.\\*)")


def show_all(view: View) -> None:
    """Show a family, the change of one of its legs, and whatever else a watch shows."""
    board = board_of(family())
    view.begin(board.snapshot())
    event = callback(PARENT, "completed", second=90, sequence=9, CallerName="Ann Lee", Caller="+15005550006")
    view.event(event, board.apply(event))
    twiml = (("Twiml", "<Dial>+12025550142</Dial>"),)
    view.action(ActionEvent(moment(91), PARENT, "redirect", twiml, "to +12025550142"))
    view.note("+12025550142 is not there")
    facts: dict[str, Any] = {"event": "completed", "seconds": 0.5, "attempt": 2}
    view.note(Forwarded(f"→ {APPLICATION}  200", url=APPLICATION, call_sid=PARENT, status=200, **facts))
    view.trouble(Trouble("no callback of client:ann", Cause.NO_CALLBACK))
    details = {**facts, "reason": "it says: no agent +12025550142", "kept": True}
    failed = f"→ {APPLICATION}  500"
    view.trouble(Trouble(failed, Cause.FORWARD, url=APPLICATION, status=500, call_sid=PARENT, details=details))
    view.refresh(board.snapshot(), HEADER)
    assert not view.is_stale()
    view.close()


def test_no_line_has_a_true_number() -> None:
    out, said = io.StringIO(), list[str]()
    show_all(MaskedView(LineView(out, say=said.append)))
    assert f"\t{PARENT}\t-\tcompleted\tcompleted\t+1500***06\t+1202***00\t-\n" in out.getvalue()
    assert len(said) == 5
    assert not TRUE_NUMBER.search(out.getvalue() + "\n".join(said))


def test_no_record_has_a_true_number_and_all_else_is_as_it_was() -> None:
    shown, true = io.StringIO(), io.StringIO()
    show_all(MaskedView(JsonLinesView(shown, extra={}, say=print)))
    show_all(JsonLinesView(true, extra={}, say=print))
    assert TRUE_NUMBER.search(true.getvalue())
    assert not TRUE_NUMBER.search(shown.getvalue())
    assert "Ann Lee" not in shown.getvalue()
    masked_fields = {"from", "to", "caller_name", "form", "request", "outcome", "text", "url", "reason"}
    types = [json.loads(line)["type"] for line in true.getvalue().splitlines()]
    assert "forwarded" in types
    for one, other in zip(shown.getvalue().splitlines(), true.getvalue().splitlines(), strict=True):
        masked, record = json.loads(one), json.loads(other)
        assert list(masked) == list(record)
        assert {name for name in record if record[name] != masked[name]} <= masked_fields


def test_a_filter_before_it_goes_by_the_true_numbers() -> None:
    out = io.StringIO()
    show_all(FilteredView(MaskedView(LineView(out, say=print)), CallFilter(to="+12025550100")))
    assert "+1202***00" in out.getvalue()
    out = io.StringIO()
    show_all(FilteredView(MaskedView(LineView(out, say=print)), CallFilter(to="+12025550142")))
    assert out.getvalue() == ""
