"""A proxy that leads clients of api.twilio.com to the simulator, and the certificates by which they trust it."""
