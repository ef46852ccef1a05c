"""What the tests lean on: throw-away certificates, real servers, real clients, the gateway as a process."""
