"""`python -m textmill` is the command `textmill`."""

from textmill.commands.cli import textmill

textmill(prog_name="textmill")
