"""One watch: its listener or the store that it follows, the board, the rules that act, and what keeps it going."""
