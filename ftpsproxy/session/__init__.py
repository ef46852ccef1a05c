"""One client's session with its server."""
