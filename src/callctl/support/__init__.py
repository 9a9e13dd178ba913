"""What several floors share, and is not about calls."""
