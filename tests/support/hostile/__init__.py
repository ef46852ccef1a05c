"""Parts of the misbehaving FTPS server: bytes on the wire, its switches, what it saw, its sessions and transfers."""
