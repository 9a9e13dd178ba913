"""What several layers share, and is not about calls."""
