"""The one door to Twilio's REST API."""
