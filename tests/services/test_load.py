"""The load of the benchmarks is what it says: real messages, the mix, the same bytes again, and loops that are loops."""

from collections import Counter
from itertools import islice

from bench.kafka_load import batches, records
from bench.operator_cost import measure
from bench.spans import Load, Spans
from pipeline.core.panes import TimeRules
from schemas.codecs import TICK
from schemas.codecs.blocks import decode_batch
from schemas.codecs.single import decode
from schemas.events import AgentSpan
from schemas.times import MINUTE
from schemas.topics import TRACES

RULES = TimeRules()
SMALL = Load(events=12_000, concurrent=200, stuck_every=20)


def test_every_span_is_one_that_a_service_could_have_sent() -> None:
    operations: Counter[str] = Counter()
    writes = filled = total = 0
    for key, value, stamp in Spans(SMALL):
        name, fields = decode(value)
        span = AgentSpan.model_validate(fields)
        assert (name, span.key.encode()) == ("agent_span", key)
        assert span.start_time is not None
        assert span.start_time <= span.event_time < stamp
        operations[span.operation] += 1
        writes += span.access == "write"
        filled += sum(value is not None and value != 0 for value in fields.values())
        total += len(value)
    share = {name: number / SMALL.events for name, number in operations.items()}
    assert 0.43 < share["chat"] < 0.47
    assert 0.43 < share["execute_tool"] < 0.47
    assert 0.09 < writes / operations["execute_tool"] < 0.13
    assert 27 < filled / SMALL.events < 30
    assert 330 < total / SMALL.events < 370


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (list(islice(Spans(Load(seed=seed)), 500)) for seed in (7, 7, 8))
    assert first == again
    assert {value for _, value, _ in first}.isdisjoint(value for _, value, _ in other)


def test_the_truth_about_tokens_is_what_the_spans_say() -> None:
    spans, sums = Spans(SMALL), Counter[tuple[str, int]]()
    for _, value, _ in spans:
        fields = decode(value)[1]
        if fields["operation"] == "chat":
            minute = (fields["session_id"], fields["event_time"] // MINUTE)
            sums[minute] += fields["input_tokens"] + fields["output_tokens"]
    assert dict(sums) == spans.truth.tokens


def test_batches_hold_every_record_in_order_with_a_tick_for_each_pane() -> None:
    expected = list(records(Spans(SMALL), RULES))
    found = list(batches(Spans(SMALL), RULES, size=700))
    panes = {RULES.pane_of(stamp) for _, key, _, stamp in expected if key is not None}
    for partition in range(TRACES.partitions):
        mine = [batch for batch in found if batch.partition == partition]
        values = [value for batch in mine for value in batch.values]
        assert values == [value for number, _, value, _ in expected if number == partition]
        assert [offset for batch in mine for offset in batch.offsets] == list(range(len(values)))
        assert values.count(TICK) == len(panes) + 1
    assert not any(decode_batch(batch, "agent_span").rejected for batch in found)


def test_the_detectors_find_the_planted_loops_and_no_other() -> None:
    cost = measure(SMALL)
    assert len(cost.looping) > 5
    assert cost.wrong == []
