"""What the simulator sends to applications: HTTP requests, with their cookies, and WebSockets."""
