"""``callctl hangup``."""
