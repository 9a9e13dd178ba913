from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from callctl.watch.collecting import collect_seldom

class Knot:
    def __init__(self):
        self.itself = self

full = []
gc.callbacks.append(lambda phase, told: full.append(phase) if told["generation"] == 2 else None)
collect_seldom()
full.clear()
living = weakref.WeakSet()
most = 0
for _ in range(200_000):
    living.add(Knot())
    most = max(most, len(living))
kept = [[number] for number in range(300_000)]
print(len(full), most < 150_000)
"""


def test_cycles_are_still_found_young_and_no_full_search_is_made() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["0", "True"]
