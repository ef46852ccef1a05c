"""How an error, or what a peer said, reads wherever it is told: in a reply, the log, a message on the terminal."""


def words(error: OSError) -> str:
    """Its meaning in lower case, without number and file name: `connection refused`."""
    return (error.strerror or str(error)).lower()


def unwrapped(error: BaseException) -> BaseException:
    """What a nursery has wrapped into a group, if it is one error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def printable(text: str) -> str:
    """All that does not print is escaped: it can neither end a line nor steer a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
