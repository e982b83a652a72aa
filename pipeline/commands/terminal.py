"""The console that commands print to."""

import sys

from rich.console import Console

WIDTH_OF_FILES = 100  # columns where stdout is no terminal


def terminal() -> Console:
    """stdout at its own width; no colour and a fixed width where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
