"""What people and programs see: tables, the live table, lines, JSON Lines."""
