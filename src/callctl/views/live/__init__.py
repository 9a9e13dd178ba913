"""The live table of a watch."""
