"""Where things are written."""
