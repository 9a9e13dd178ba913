"""What takes more than one request: ending calls, redirecting them with a word on the other leg, waiting for one."""
