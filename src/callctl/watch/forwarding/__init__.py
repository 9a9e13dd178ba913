"""What is passed on to applications of yours: verified requests as they come, and stored ones once more."""
