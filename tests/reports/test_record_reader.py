from __future__ import annotations

import pytest
from events import WORLD, event_of, form, moment, sid
from hypothesis import given
from hypothesis import strategies as st

from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.reports.leg_facts import LegFacts, facts_of_events
from callctl.reports.record_reader import RecordReader
from reports.forms import events_of_a_leg, records_of

# One for all examples: what is remembered of one leg must not change another.
READER = RecordReader()


def sorted_delays(leg: LegFacts | None) -> LegFacts | None:
    return None if leg is None else leg._replace(delays=sorted(leg.delays))


@given(events_of_a_leg(), st.data())
def test_records_give_the_same_facts_as_events(events: list[CallEvent], data: st.DataObject) -> None:
    as_json = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    records = records_of(events, as_json=as_json)
    expected = sorted_delays(facts_of_events(events))
    assert sorted_delays(READER.facts(records)) == expected
    assert sorted_delays(READER.facts(records)) == expected  # also once the orders of names are known
    assert sorted_delays(RecordReader().facts(records)) == expected
    assert READER.unreadable == 0


def usual(call: int, status: str = "ringing", **more: str) -> str:
    return event_of(form(call, status, number=1, at=2, **more)).to_record()


def test_what_comes_often_is_read_without_making_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = RecordReader()
    request = {name: value for name, value in form(1, "ringing").items() if name != "CallbackSource"}
    asking = event_of({**request, "ApiVersion": "2010-04-01"}).to_record()
    call = Call(sid(1), "completed", "outbound-api", "+15005550006", "+12025550100", start_time=moment(0), duration=7)
    polled, missed = (
        CallEvent.from_call(call, received_at=moment(9), world=WORLD, kind=kind).to_record()
        for kind in (POLLED, MISSED)
    )
    samples = [[usual(1), usual(1, "completed")], [usual(1, CallDuration="3")], [asking], [usual(1), polled], [missed]]
    expected = [reader.facts(sample) for sample in samples]
    monkeypatch.setattr(CallEvent, "from_record", None)
    assert [reader.facts(sample) for sample in samples] == expected
    again = reader.facts([usual(7, "busy"), asking.replace(sid(1), sid(7))])
    assert again is not None
    assert (again.call_sid, again.status) == (sid(7), "busy")
    assert reader.unreadable == 0


def test_what_cant_be_read_is_counted_and_hides_nothing() -> None:
    reader = RecordReader()
    whole = reader.facts([usual(1)])
    broken = ["", "2\n", "{}", "[1", '{"v": 9}', "2\nk\ncallback\nsoon\n1\nCallSid\nCA1", usual(1)[:-2] + "\nodd"]
    assert reader.facts([*broken, usual(1)]) == whole
    assert reader.facts(broken) is None
    assert reader.unreadable == 2 * len(broken)


def test_names_without_end_are_not_remembered_without_end() -> None:
    reader = RecordReader()
    for number in range(200):
        leg = reader.facts([usual(number, **{f"Parameter{number}": "x"})])
        assert leg is not None
        assert leg.call_sid == sid(number)
    assert len(reader._learned) == len(reader._patterns) == 64
