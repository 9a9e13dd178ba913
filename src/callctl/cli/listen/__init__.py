"""``callctl listen``."""
