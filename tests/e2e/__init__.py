"""Real clients, the gateway as a process, real servers."""
