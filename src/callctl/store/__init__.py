"""What a watch remembers: its events, what was done to calls, which rule may act."""
