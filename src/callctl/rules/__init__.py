"""Rules: what they propose for the calls of a watch, and what carries it out."""
