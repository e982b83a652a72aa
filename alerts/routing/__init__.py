"""Routing: which receivers are told of an alert, when, and why not. The words are Alertmanager's (README.md)."""
