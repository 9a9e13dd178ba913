"""A request to change a call is kept in the store and read back."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import Callctl, env_for

from callctl.calls.action import ActionEvent, left_dial_by
from callctl.simulator import Simulator
from callctl.store.sqlite.store import SqliteStore
from callctl.support.identity import user_at_host
from callctl.views.lines import action_words, by_whom

CALL = "CA" + "1" * 32
ACTION = ActionEvent(
    datetime(2026, 1, 5, tzinfo=UTC), CALL, "redirect", (("Url", "https://example.com/"),), "to survey"
)


@given(
    st.builds(
        ActionEvent,
        at=st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1), max_value=datetime(2999, 12, 31)),
        call_sid=st.text(),
        action=st.sampled_from(["redirect", "hangup", "cancel"]),
        request=st.lists(st.tuples(st.text(), st.text())).map(tuple),
        outcome=st.text(),
        status=st.none() | st.text(),
        rule=st.none() | st.text(),
    )
)
def test_a_record_gives_back_the_action(action: ActionEvent) -> None:
    assert ActionEvent.from_record(action.to_record()) == action


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(ValueError, match="not the record of an action"):
        ActionEvent.from_record({"at": "yesterday"})


def test_the_redirect_by_which_a_leg_left_its_dial_is_the_first_in_the_store_whatever_its_time() -> None:
    first = replace(ACTION, at=ACTION.at + timedelta(minutes=1), by="ann@ahead")
    assert left_dial_by(CALL, [first, ACTION]) == first


def test_a_store_keeps_actions_by_call_and_by_world(tmp_path: Path) -> None:
    mine, other = (SqliteStore.open_for_watch(tmp_path / "events.db", world=world) for world in ("mine", "other"))
    try:
        mine.record_actions([ACTION])
        other.record_actions([ACTION])
        assert mine.actions(CALL) == [ACTION]
        assert mine.actions("CA" + "2" * 32) == []
        (row,) = mine.actions_after(0)
        assert row[1] == ACTION
        assert mine.actions_after(mine.last_action_id()) == []
    finally:
        mine.close()
        other.close()


def test_a_hang_up_that_can_not_be_written_down_is_still_a_hang_up(
    callctl: Callctl, simulator: Simulator, tmp_path: Path
) -> None:
    blocked = tmp_path / "no-database"
    blocked.write_text("this is not a database, and long enough to be looked at as one" * 10)
    env = {**env_for(simulator), "CALLCTL_STORE": str(blocked)}
    sid = callctl("place", "+12025550103", "--say", "Hello", env=env).out.strip()
    outcome = callctl("hangup", sid, env=env)
    assert outcome.code == 0
    assert outcome.out.startswith(sid)
    assert "done, but not written down" in outcome.err


def test_a_command_records_whose_it_is(callctl: Callctl, simulator: Simulator) -> None:
    env = env_for(simulator)
    sid = callctl("place", "+12025550103", "--say", "Hello", env=env).out.strip()
    assert callctl("hangup", sid, env=env).code == 0
    shown = json.loads(callctl("show", sid, "--json", env=env).out)
    assert [item["by"] for item in shown["timeline"] if item["type"] == "action"] == [user_at_host()]


def test_who_made_a_request_is_part_of_its_record() -> None:
    by_rule = replace(ACTION, rule="patience")
    assert by_rule.to_json()["by"] == "patience"
    assert ActionEvent.from_record(by_rule.to_record()) == by_rule
    assert ActionEvent.from_record({**ACTION.to_record(), "by": "ann@desk"}).by == "ann@desk"
    del (old := ACTION.to_record())["by"]  # of an older callctl
    assert ActionEvent.from_record(old).by is None


def test_a_colleague_is_named_and_oneself_is_not() -> None:
    assert by_whom(replace(ACTION, by=user_at_host())) == ""
    assert by_whom(ACTION) == ""
    assert by_whom(replace(ACTION, by="ann@desk")) == "by ann@desk"
    assert action_words(replace(ACTION, by="ann@desk")) == "▸ redirect: to survey, by ann@desk"
    assert by_whom(replace(ACTION, rule="patience")) == "by rule patience"
