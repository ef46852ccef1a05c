"""How an error reads, wherever it is told: in a reply, the log, a message on the terminal."""


def words(error: OSError) -> str:
    """Its meaning in lower case, without number and file name: `connection refused`."""
    return (error.strerror or str(error)).lower()


def unwrapped(error: BaseException) -> BaseException:
    """What a nursery has wrapped into a group, if it is one error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
