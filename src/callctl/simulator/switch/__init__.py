"""The simulator's switch: legs, the ends they reach, and what joins them."""
