"""Faults: the gateway as a process between a misbehaving server and a misbehaving client."""
