"""Adapters: what others send -> our three events. Pure: bytes in, rows and reasons out. README.md says how."""
