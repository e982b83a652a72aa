"""Slow and simple implementations that the engine is held against."""
