"""The flags that stand for settings."""

FLAGS = {
    "listen": ("ADDR:PORT", "where clients connect (default: 127.0.0.1:2121)"),
    "upstream": ("URL", "ftpes://HOST[:21] for AUTH TLS or ftps://HOST[:990] for implicit TLS"),
    "ca_file": ("PEM", "the roots to trust (default: the system's)"),
    "log_format": ("FORMAT", "json, logfmt or console (default: console on a terminal, else json)"),
    "log_level": ("LEVEL", "debug, info or warning (default: info)"),
    "workers": ("N", "processes that share the ports, or auto for one a core (default: 1)"),
}
"""The short forms of settings, as `config.load` takes them."""
