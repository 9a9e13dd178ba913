"""The listener's public address: a tunnel command that callctl runs, or an ngrok agent that runs already."""
