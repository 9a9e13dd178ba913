"""What takes more than one request: hanging up, redirecting, waiting, following a call, and bulk work."""
