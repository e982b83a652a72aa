"""What correlate costs: messages a second on one core, and how many spans a second that means behind it.

    python -m bench.correlate_cost [--events 200000]

Detect reads a load; what it sends goes through correlate's operator, decoded as the stage decodes it.
"""

import argparse
import time
from collections import Counter

from bench.kafka_load import batches
from bench.spans import Load, Spans
from pipeline.core.panes import TimeRules
from pipeline.operators.correlate import CorrelateOperator
from pipeline.operators.detect import DetectOperator
from schemas.codecs.blocks import decode_batch
from schemas.codecs.single import decode_record, encode_record
from schemas.signals import Reduced
from schemas.topics import TRACES, source_name


def main() -> None:
    """Print one line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=200_000)
    args = arguments.parse_args()
    rules = TimeRules()
    detect = [DetectOperator(TRACES.name, number, "bench", 1, None, rules) for number in range(TRACES.partitions)]
    sent: list[bytes] = []
    spans = 0
    for batch in batches(Spans(Load(args.events)), rules):
        spans += len(batch.values)
        found = detect[batch.partition].read(decode_batch(batch, "agent_span"))
        sent += [encode_record(message) for _, message in found.messages]
    correlate = CorrelateOperator(
        [source_name(TRACES.name, number) for number in range(TRACES.partitions)], None, rules
    )
    kinds: Counter[str] = Counter()
    revisions = 0
    began = time.process_time()
    for start in range(0, len(sent), 500):
        messages = [decode_record(value) for value in sent[start : start + 500]]
        kinds.update(type(m.row).__name__ if isinstance(m, Reduced) else type(m).__name__ for m in messages)
        revisions += len(correlate.read(messages))
    cpu = time.process_time() - began
    rows = sum(kinds.values())
    print(f"{rows:,} messages of {spans:,} spans ({dict(kinds)}), {revisions} revisions")
    print(f"{rows / cpu:,.0f} messages/s of CPU; {spans / cpu:,.0f} spans/s behind one partition of signals.v1")


if __name__ == "__main__":
    main()
