"""Moving bytes between a plain data connection and a TLS one."""
