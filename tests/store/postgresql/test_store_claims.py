"""What claims of a shared store promise where another listener is quicker by a moment."""

from __future__ import annotations

from contextlib import closing

import psycopg
from events import START, WORLD, moment, sid

from callctl.calls.action import DECLINED, ActionEvent
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import OpenClaim
from callctl.support.threads import start_in_thread


def test_nothing_is_declined_that_another_listener_claimed_while_the_decline_waited_for_it(
    own_shared_store: str,
) -> None:
    mine = OpenClaim("rule", sid(1), sid(2), "hangup")
    event = ActionEvent(START, sid(1), "hangup", (), "too old", rule="rule", about=sid(2), result=DECLINED)
    waits = (
        "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
    )
    with closing(PostgresStore.open(own_shared_store, world=WORLD)) as store:
        store.describe_world(account_sid=None, api_url="")
        with psycopg.connect(own_shared_store, autocommit=True) as admin, psycopg.connect(own_shared_store) as other:
            theirs = (WORLD, "rule", sid(1), sid(3), "hangup", moment(90) - START)
            other.execute("SELECT callctl.claim(%s, %s, %s, %s, %s, %s, false, NULL, NULL)", theirs)
            declined = start_in_thread(lambda: store.decline(mine, event))
            while admin.execute(waits.encode()).fetchone() != (True,):
                assert not declined.done()
            other.commit()
            assert not declined.result(timeout=60)
        assert store.all_actions(sid(1)) == []
