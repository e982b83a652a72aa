"""Measurements and the tools around them. Nothing in the product imports it."""
