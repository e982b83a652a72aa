"""One file, one detector: pure code that turns panes into signals."""
