"""The metrics of a listener in the forms that Prometheus reads, by its own library.

The figures are counted elsewhere, as plain numbers, and become metrics when they are requested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from callctl import __version__
from callctl.watch.counts import Counts, Histogram

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Exposition(NamedTuple):
    """Metrics as they are sent, and what form that is."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a listener. ``open_claims`` is None if the store can't be read.

    ``forwarded`` counts the requests that were passed on, by what became of them; it is None if none is passed on.
    """

    counts: Counts
    duplicates: int
    ignored: int
    live_legs: int
    open_claims: int | None
    is_reachable: bool
    last_commit_at: datetime | None
    forwarded: Mapping[str, int] | None = None
    forward_waiting: int = 0


def exposition(figures: Figures, *, accept: str) -> Exposition | None:
    """Return the metrics in a form that an Accept header allows; None where the library is not installed."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.registry import Collector
    except ImportError:
        return None

    class Families(Collector):
        def collect(self) -> Iterator[Metric]:
            return _families(figures)

    registry = CollectorRegistry()
    registry.register(Families())
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return Exposition(encode(registry), content_type)


def _families(figures: Figures) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    counts = figures.counts
    answers = CounterMetricFamily("callctl_answers", "Answers on the callback port, by HTTP status.", labels=["code"])
    for status, number in sorted(counts.answers.items()):
        answers.add_metric([str(status)], number)
    yield answers
    events = CounterMetricFamily(
        "callctl_events", "Events stored, each once, by kind and call status.", labels=["kind", "status"]
    )
    for (kind, status_name), number in sorted(counts.events.items()):
        events.add_metric([kind, status_name], number)
    yield events
    refusals = CounterMetricFamily("callctl_refusals", "Requests refused, by cause.", labels=["cause"])
    for cause, number in sorted(counts.refusals.items()):
        refusals.add_metric([cause], number)
    yield refusals
    yield CounterMetricFamily("callctl_duplicates", "Events that were stored before.", value=figures.duplicates)
    yield CounterMetricFamily("callctl_ignored", "Genuine requests about no call.", value=figures.ignored)
    yield _histogram("callctl_commit_seconds", "How long commits took.", counts.commit_seconds)
    yield _histogram("callctl_commit_events", "How many events shared a commit.", counts.commit_events)
    yield GaugeMetricFamily("callctl_pending_events", "Events that wait to be stored.", value=counts.pending)
    yield GaugeMetricFamily("callctl_live_legs", "Legs that are not over.", value=figures.live_legs)
    if figures.open_claims is not None:
        yield GaugeMetricFamily(
            "callctl_open_claims", "Actions of rules whose answer is not known.", value=figures.open_claims
        )
    yield GaugeMetricFamily(
        "callctl_reachable", "1 while callbacks can arrive, as far as is known.", value=int(figures.is_reachable)
    )
    if figures.last_commit_at is not None:
        yield GaugeMetricFamily(
            "callctl_last_commit_timestamp_seconds",
            "When events were stored last.",
            value=figures.last_commit_at.timestamp(),
        )
    if figures.forwarded is not None:
        forwarded = CounterMetricFamily(
            "callctl_forwarded", "Requests passed on to applications, by what became of them.", labels=["outcome"]
        )
        for outcome, number in sorted(figures.forwarded.items()):
            forwarded.add_metric([outcome], number)
        yield forwarded
        yield GaugeMetricFamily(
            "callctl_forward_waiting", "Requests that applications have not taken yet.", value=figures.forward_waiting
        )
    yield InfoMetricFamily("callctl", "The version of callctl.", value={"version": __version__})


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.sum)
