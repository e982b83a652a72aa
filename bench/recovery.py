"""How long a snapshot of many live sessions takes to write and to go on from, and how large it is.

    python -m bench.recovery [--sessions 100000] [--spans 4]

Operators of all partitions of agent.traces.v1 read a load with so many sessions at a time; then the state of each is
encoded, cut into messages, found again among them and loaded into a fresh operator. Kafka's part is left out: it is
the time to read the messages' bytes back.
"""

import argparse
import time

from bench.kafka_load import batches
from bench.spans import Load, Spans
from pipeline.core.panes import TimeRules
from pipeline.operators.detect import DetectOperator
from pipeline.operators.state import dump, load, version
from pipeline.snapshots import find, messages, task_name
from schemas.codecs.blocks import decode_batch
from schemas.topics import SIGNALS, TRACES


def main() -> None:
    """Print one line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sessions", type=int, default=100_000)
    arguments.add_argument("--spans", type=int, default=4, help="of each session before")
    args = arguments.parse_args()
    rules = TimeRules()
    operators = [fresh(number, rules) for number in range(TRACES.partitions)]
    for batch in batches(Spans(Load(args.sessions * args.spans, args.sessions)), rules):
        operators[batch.partition].read(decode_batch(batch, "agent_span"))
    live = sum(len(operator.sessions) for operator in operators)
    began = time.perf_counter()
    states = [dump(operator) for operator in operators]
    encoded = time.perf_counter() - began
    written = []
    for number, blobs in enumerate(states):
        task = task_name("detect", TRACES.name, number)
        chunks, manifest = messages(task, "1-bench", 0, version(), 1, blobs)
        written.append((task, [*chunks, manifest]))
    began = time.perf_counter()
    for number, (task, records) in enumerate(written):
        snapshot = find(task, records, version()).snapshot
        assert snapshot is not None
        load(fresh(number, rules), snapshot.blobs)
    loaded = time.perf_counter() - began
    size = sum(len(blob) for blobs in states for blob in blobs)
    count = sum(len(records) for _, records in written)
    print(f"{'live sessions':>14} {'MB':>7} {'bytes each':>11} {'messages':>9} {'encode s':>9} {'go on s':>8}")
    print(f"{live:>14,} {size / 1e6:>7.1f} {size / live:>11.0f} {count:>9,} {encoded:>9.2f} {loaded:>8.2f}")


def fresh(number: int, rules: TimeRules) -> DetectOperator:
    """An operator that has read nothing."""
    return DetectOperator(TRACES.name, number, "bench", SIGNALS.partitions, None, rules)


if __name__ == "__main__":
    main()
