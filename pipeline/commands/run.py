"""`aftermath run`: workers against the configured Kafka and ClickHouse, until they are told to stop."""

import argparse

from pipeline.settings import STAGE_NAMES, load_settings
from schemas.errors import UsageError


def run(args: argparse.Namespace) -> int:
    """Returns the exit code of app.run_worker."""
    unknown = [name for name in args.stage or () if name not in STAGE_NAMES]
    if unknown:
        raise UsageError(f"There is no stage {unknown[0][:40]!r}; there are {', '.join(STAGE_NAMES)}.")
    overrides = {"recorded": True} if args.recorded else {}
    settings = load_settings(**overrides)
    from pipeline.app import run_worker

    return run_worker(settings, args.stage)
