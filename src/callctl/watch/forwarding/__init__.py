"""Sends verified requests to applications of yours: as they come, and stored ones once more."""
