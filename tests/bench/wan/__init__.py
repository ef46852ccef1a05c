"""A long way between the gateway and its server: two networks, and a process between them that holds each packet."""
