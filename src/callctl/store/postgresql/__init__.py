"""A store in PostgreSQL, for listeners, watches and commands on many machines."""
