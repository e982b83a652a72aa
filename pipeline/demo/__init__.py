"""The demo: a half hour that is told on purpose, and real healthy traffic that runs beside it."""
