"""The metrics as Prometheus's own parsers read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from callctl.watch.counts import COMMIT_EVENTS, Counts
from callctl.watch.metrics import Figures, exposition


@pytest.mark.parametrize(
    ("accept", "kind", "read"),
    [
        ("", "text/plain", read_text),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", read_openmetrics),
    ],
)
def test_both_forms_are_read_and_say_what_was_counted(accept: str, kind: str, read: object) -> None:
    counts = Counts(pending=3)
    counts.answers.update({204: 5, 403: 2})
    counts.events["callback", "ringing"] = 4
    counts.refusals["signature"] = 2
    for seconds, events in ((0.001, 1), (0.003, 2), (20.0, 256)):
        counts.commit(seconds, events)
    figures = Figures(
        counts,
        duplicates=1,
        ignored=6,
        live_legs=7,
        open_claims=None,
        is_reachable=False,
        last_commit_at=datetime(2026, 1, 1, tzinfo=UTC),
        forwarded={"taken": 8, "given_up": 1},
        forward_waiting=9,
    )
    found = exposition(figures, accept=accept)
    assert found is not None
    assert found.content_type.startswith(kind)
    assert callable(read)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in read(found.body.decode())
        for sample in family.samples
        if sample.name.startswith("callctl_")
    }
    assert samples["callctl_answers_total", ("code", "204")] == 5
    assert samples["callctl_events_total", ("kind", "callback"), ("status", "ringing")] == 4
    assert samples["callctl_refusals_total", ("cause", "signature")] == 2
    assert (samples["callctl_duplicates_total",], samples["callctl_ignored_total",]) == (1, 6)
    assert (samples["callctl_live_legs",], samples["callctl_pending_events",]) == (7, 3)
    assert samples["callctl_reachable",] == 0
    assert samples["callctl_last_commit_timestamp_seconds",] == 1767225600
    assert ("callctl_open_claims",) not in samples
    assert samples["callctl_forwarded_total", ("outcome", "taken")] == 8
    assert samples["callctl_forward_waiting",] == 9
    bounds = {bound: samples["callctl_commit_events_bucket", ("le", str(float(bound)))] for bound in COMMIT_EVENTS}
    assert bounds == {1: 1, 2: 2, 4: 2, 8: 2, 16: 2, 32: 2, 64: 2, 128: 2, 256: 3}
    assert samples["callctl_commit_seconds_bucket", ("le", "0.001")] == 1
    assert samples["callctl_commit_seconds_bucket", ("le", "10.0")] == 2
    assert samples["callctl_commit_seconds_bucket", ("le", "+Inf")] == samples["callctl_commit_seconds_count",] == 3
