"""How fast, and where the time goes.

    python -m bench.throughput --operator [--events N] [--sessions 10000,100000,1000000]
"""

import argparse
import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported: figures are for one core


def main() -> None:
    """Print one table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--operator", action="store_true", help="without Kafka: decode and detect alone")
    arguments.add_argument("--events", type=int, default=200_000)
    arguments.add_argument("--concurrent", type=int, default=2_000, help="sessions at a time")
    arguments.add_argument("--sessions", default="", help="with --operator: cost at these numbers of sessions")
    arguments.add_argument("--seed", type=int, default=7)
    args = arguments.parse_args()
    from bench import operator_cost
    from bench.spans import Load

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if args.sessions:
        operator_cost.growth([int(text) for text in args.sessions.split(",")], args.events, args.seed)
    else:
        operator_cost.report(operator_cost.measure(Load(args.events, args.concurrent, args.seed)))


if __name__ == "__main__":
    main()
