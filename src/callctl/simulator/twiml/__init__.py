"""TwiML, as the simulator reads and runs it."""
