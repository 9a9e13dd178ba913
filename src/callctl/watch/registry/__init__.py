"""How commands find the watches and the listeners that run, and what is known of each."""
