"""``callctl export``."""
