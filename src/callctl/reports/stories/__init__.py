"""A story: what became of a family of calls, as data, from what the store and REST have of it."""
