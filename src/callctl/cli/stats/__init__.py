"""``callctl stats``."""
