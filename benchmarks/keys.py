"""How soon a key of the live table shows, with 10,000 live legs and 200 callbacks a second.

The command runs on a pseudo-terminal, whose output is searched for what the key changes on the screen.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from callbacks import Load, Outcome, Process, Watch, generate
from measuring import Row, share, within

LEGS = 10_000
RATE = 200.0
# A key, and what stands on the screen because of it. Where that is empty the key is not measured: an Esc that nothing
# follows is waited for.
KEYS = (
    ("j", "▌"),
    ("G", "rows 9"),
    ("g", "rows 1-"),
    ("s", "sorted by time in status"),
    ("s", "sorted by start"),
    ("s", "sorted by attention"),
    ("/", "/▏"),
    ("4", "/4▏"),
    ("2", "/42▏"),
    ("\x7f", "/4▏"),
    (" ", "/4 ▏"),
    ("l", "/4 l▏"),
    ("\x1b", ""),
    ("?", "KEYS"),
    ("q", "legs"),
    ("\x1b", ""),
)


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure keys under load, and the answers to callbacks meanwhile."""
    rounds = 2 if quick else 15
    with tempfile.TemporaryDirectory() as name, Process(generate) as generator, Watch(Path(name)) as watch:
        depth = 1000
        generator.ask(Load(watch.port, 0, 2 * LEGS, width=LEGS, depth=depth))
        watch.wait_for(f"{LEGS} ringing", 60)
        answers: list[Outcome] = []

        def load() -> None:
            seconds = 3 if quick else 40
            count = int(RATE * seconds)
            answers.append(generator.ask(Load(watch.port, 2 * LEGS, count, width=LEGS, depth=depth, rate=RATE)))

        loading = threading.Thread(target=load)
        loading.start()
        waits = []
        for _ in range(rounds):
            for key, shown in KEYS:
                if shown:
                    waits.append(watch.effect(key, shown))
                else:
                    watch.type(key)
                    time.sleep(0.3)
        loading.join()
    waits.sort()
    what = f"key to frame with {LEGS:,} live legs and {RATE:.0f} callbacks a second, 99 % of {len(waits)} keys within"
    yield within(0.05, what, share(waits, 0.99))
    yield within(0.05, "99 % of these callbacks are answered within", share(answers[0].waits, 0.99))
