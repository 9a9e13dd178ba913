"""``callctl redirect``."""
