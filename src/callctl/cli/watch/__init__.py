"""``callctl watch``."""
