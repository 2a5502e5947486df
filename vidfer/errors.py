"""Every error vidfer raises on purpose.

A message says what was wrong, what was got, what is allowed and what to do next, in one line: the command line prints
it as it is. The exit code belongs to the kind of error, so that library and command line agree on what counts as what.
"""


class VidferError(Exception):
    """Root of all errors that vidfer raises on purpose."""

    exit_code = 1


class UsageError(VidferError):
    """An option or an argument has a value that cannot be used."""

    exit_code = 2


class InputError(VidferError):
    """A source (file, folder, stream) or a table cannot be read."""

    exit_code = 3


class OutputError(VidferError):
    """A result cannot be written where it should go."""


class ModelError(VidferError):
    """A network file is missing, damaged or not of the expected kind."""


class DataError(VidferError):
    """Training data lacks something, or holds something that training cannot use."""

    exit_code = 3


def one_line(error: BaseException) -> str:
    """An error with its notes (what to do next) as one line of text."""
    return " ".join(" ".join([str(error), *getattr(error, "__notes__", [])]).split())
