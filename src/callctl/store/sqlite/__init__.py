"""The event store in an SQLite file."""
