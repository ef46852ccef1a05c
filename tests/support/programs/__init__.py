"""Servers that are libraries, and what starts servers: each a program of its own, run by `tests.support.servers`."""
