"""The simulator's REST API."""
