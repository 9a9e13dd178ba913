"""The client of Twilio's REST API."""
