"""``callctl simulator``."""
