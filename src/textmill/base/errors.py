"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """A mistake in the input or the settings.

    Its message is one line that says which file and row, what is wrong, and what to do. The stage runner prints it
    without a traceback and ends with exit code 2; everything else that is raised is a bug and keeps its traceback.
    """
