"""``callctl demo``."""
