"""The benchmark: ftpsproxy against ProFTPD mod_proxy and stunnel. Run it with ``python -m tests.bench``."""
