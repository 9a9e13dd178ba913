"""Acting on what rules ask for: look, claim, send, see what came of it, write it down."""
