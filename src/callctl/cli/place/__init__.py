"""``callctl place``."""
