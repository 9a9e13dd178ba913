"""Taking callbacks in: verify, store, answer."""
