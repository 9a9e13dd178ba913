"""A story: what became of a family of calls, as data, and what it is made of: a store, and REST."""
