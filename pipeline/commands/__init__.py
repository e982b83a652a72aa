"""One module a command: `run(args) -> exit code`. What the words mean stands in pipeline/cli.py."""
