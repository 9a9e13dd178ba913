"""What is below /simulator: what happened, and what a test does at the other end."""
