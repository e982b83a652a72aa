"""Detect and correlate as pure operators: what a stage and a backtest run alike."""
