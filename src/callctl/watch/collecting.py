"""Python's search for reference cycles, kept from stopping a watch with thousands of legs.

A full search looks at every object: with ten thousand legs it stops the program, and every answer to Twilio, for a
tenth of a second and longer, and busy callbacks set it off again and again. It finds nothing there: legs, families and
events refer to each other in one direction only and go as soon as nobody needs them.
"""

from __future__ import annotations

import gc

# Objects until the young are searched, such searches until the middle-aged are, and those until all are. The cycles
# that a failed request leaves behind are young when they are found.
_THRESHOLDS = (20_000, 5, 1000)


def collect_seldom() -> None:
    """Search once, leave what is there now out of later searches, and search all seldom. For a process that serves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
