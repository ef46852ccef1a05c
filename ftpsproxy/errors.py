"""How an error of the system reads, wherever it is told: in a reply, the log, a message on the terminal."""


def words(error: OSError) -> str:
    """Its meaning in lower case, without number and file name: `connection refused`."""
    return (error.strerror or str(error)).lower()
