"""What each real part of this run was, or why it was left out. tests/conftest.py says it at the end of the run."""

USED: dict[str, str] = {}
