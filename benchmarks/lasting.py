"""How much memory `callctl watch` needs over a long time."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from callbacks import Load, Process, Watch, generate
from measuring import Row, holds_at_most
from watch import ROUND


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure how much more memory a watch holds after all events of its calls than after a tenth of them."""
    events = 20_000 if quick else 1_000_000
    calls = min(10_000, max(100, events // 100))
    depth = events // calls
    with tempfile.TemporaryDirectory() as name, Process(generate) as generator, Watch(Path(name)) as watch:
        memory = []
        for tenth in range(10):
            count = events // 10
            for first in range(tenth * count, (tenth + 1) * count, ROUND):
                most = min(ROUND, (tenth + 1) * count - first)
                generator.ask(Load(watch.port, first, most, width=calls, depth=depth))
            time.sleep(1)  # the table is drawn once more
            memory.append(watch.resident())
    what = f"memory after {events:,} events of {calls:,} calls / after a tenth"
    yield holds_at_most(1.25, what, ours=memory[-1], theirs=memory[0])
