"""A gateway that lets plaintext FTP clients reach FTPS servers over verified TLS."""

from importlib.metadata import version

__version__ = version("ftpsproxy")
