"""The one exception for mistakes that a user can fix."""


class UserError(Exception):
    """A mistake in the input or the settings.

    The message is one line: which file and row, what is wrong, and what to do.
    `base/command.py` prints it without a traceback and exits with code 2. An exception that is not handled there is a bug.
    """
