"""The figures of the roundup, counted a second time: from the events themselves in plain Python, against the text.

The text is that of tests/scenarios/golden/roundup.md, which tests/scenarios/test_roundup.py holds equal to what SQL gives.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas.times import parse_time
from tests.scenarios.weeks import START, spans, told

Span = Mapping[str, Any]
TEXT = Path("tests/scenarios/golden/roundup.md").read_text().replace("\\", "")
ROWS = [
    [cell.strip() for cell in re.sub(r" ?\[\^\d+\]", "", line).strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ")
]
MONDAY = parse_time(START)
WEEK = 7 * 86_400 * 1_000_000
SPANS = [span for span in spans() if MONDAY - 4 * WEEK <= span["event_time"] < MONDAY + WEEK]
NOW = [span for span in SPANS if span["event_time"] >= MONDAY]
BEFORE = [span for span in SPANS if span["event_time"] < MONDAY]
CALLS = [span for span in SPANS if span["operation"] == "execute_tool"]


def row(*begin: str) -> list[str]:
    """The one row of any table that begins so."""
    (found,) = [cells for cells in ROWS if cells[: len(begin)] == list(begin)]
    return found[len(begin) :]


def total(of: Sequence[Span], name: str) -> int:
    return sum(span[name] for span in of if span["operation"] == "chat")


@pytest.mark.parametrize(
    ("kind", "plus", "minus"),
    [
        ("input, not cached", "input_tokens", "cached_input_tokens"),
        ("input, cached", "cached_input_tokens", None),
        ("output, reasoning", "reasoning_tokens", None),
        ("output, the rest", "output_tokens", "reasoning_tokens"),
    ],
)
def test_tokens_by_class(kind: str, plus: str, minus: str | None) -> None:
    now, before = (total(of, plus) - (total(of, minus) if minus else 0) for of in (NOW, BEFORE))
    assert row(kind) == [
        f"{now:,}",
        f"{before / 4:,.0f} (mean of 4)",
        f"{100 * (now - before / 4) / (before / 4):+,.0f}%",
    ]


@pytest.mark.parametrize("agent", ["mover", "steady"])
def test_error_rates(agent: str) -> None:
    cells = row(f"acme/{agent}", f"{sum(total([s], 'input_tokens') + total([s], 'output_tokens') for s in NOW if s['agent_id'] == agent):,}")  # fmt: skip
    for of, cell in ((NOW, cells[1]), (BEFORE, cells[2])):
        mine = [span for span in of if span["agent_id"] == agent]
        failed = sum(span["status"] == "error" for span in mine)
        assert cell == f"{100 * failed / len(mine):.1f}% ({failed:,} of {len(mine):,})"


@pytest.mark.parametrize("tool", ["docs.search", "docs.read", "ticket.reply"])
def test_tool_latency_p50_and_p95(tool: str) -> None:
    cells = row(f"acme/{tool}")
    for of, cell in ((NOW, cells[1]), (BEFORE, cells[2])):
        took = sorted(span["duration_ms"] for span in of if span.get("tool_name") == tool)
        p50, p95 = (took[int(share * len(took))] for share in (0.5, 0.95))
        assert cell == f"{p50:,} / {p95:,} ms"
    assert cells[0] == f"{sum(span.get('tool_name') == tool for span in NOW)}"


def divergence(now: Counter[str], before: Counter[str]) -> float:
    """H((p + q) / 2) - (H(p) + H(q)) / 2 in bits: the definition by entropies."""

    def entropy(shares: Sequence[float]) -> float:
        return -sum(share * math.log2(share) for share in shares if share)

    names = sorted(now.keys() | before.keys())
    p, q = ([of[name] / of.total() for name in names] for of in (now, before))
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return entropy(middle) - (entropy(p) + entropy(q)) / 2


@pytest.mark.parametrize("agent", ["mover", "steady"])
def test_jensen_shannon_of_tools_and_of_the_transition_matrix(agent: str) -> None:
    mine = [span for span in CALLS if span["agent_id"] == agent]
    tools = [Counter(s["tool_name"] for s in mine if (s["event_time"] >= MONDAY) is now) for now in (True, False)]
    assert row(f"acme/{agent}", "tools")[0] == f"{divergence(*tools):.3f} bits"

    runs = defaultdict(list)
    for span in sorted(mine, key=lambda span: (span["event_time"], span["span_id"])):
        runs[span["session_id"]].append(span)
    steps = [
        (was["tool_name"], is_["tool_name"], is_["event_time"]) for run in runs.values() for was, is_ in pairwise(run)
    ]
    steps += [("start", run[0]["tool_name"], run[0]["event_time"]) for run in runs.values()]
    moves = [Counter(f"{a} then {b}" for a, b, at in steps if (at >= MONDAY) is now) for now in (True, False)]
    assert row(f"acme/{agent}", "tool after tool")[0] == f"{divergence(*moves):.3f} bits"


@pytest.mark.parametrize("agent", ["mover", "steady"])
@pytest.mark.parametrize("measure", ["steps", "tokens"])
def test_population_stability_index_of_steps_and_tokens_a_run(agent: str, measure: str) -> None:
    runs = defaultdict(list)
    for span in SPANS:
        if span["agent_id"] == agent:
            runs[span["session_id"]].append(span)
    values: dict[bool, list[int]] = {True: [], False: []}
    for run in runs.values():
        tokens = total(run, "input_tokens") + total(run, "output_tokens")
        values[min(span["event_time"] for span in run) >= MONDAY].append(len(run) if measure == "steps" else tokens)
    before = sorted(values[False])
    edges = sorted({before[int(tenth / 10 * len(before))] for tenth in range(1, 10)})
    bins = [Counter(sum(value > edge for edge in edges) for value in values[now]) for now in (True, False)]
    shares = [[(of[bin_] + 0.5) / (of.total() + (len(edges) + 1) / 2) for bin_ in range(len(edges) + 1)] for of in bins]
    index = sum((p - q) * math.log(p / q) for p, q in zip(*shares, strict=True))
    assert row(f"acme/{agent}", f"{measure} a run")[0] == f"{index:.3f}"


def test_runs_that_strayed_are_of_those_beyond_99_percent_and_too_few_are_not_judged() -> None:
    steps: Counter[str] = Counter(span["session_id"] for span in SPANS)
    drawn = [cells[0] for cells in ROWS if re.fullmatch(r"\w+_4_\d+", cells[0])]
    assert len(drawn) == len(set(drawn)) == 10
    assert all(str(steps[run]) == row(run)[0] for run in drawn)
    before = sorted(
        number for run, number in steps.items() if run.startswith("mover_") and not run.startswith("mover_4")
    )
    assert all(steps[run] > before[int(0.99 * len(before))] for run in drawn)
    assert [cells[-1][:10] for cells in ROWS if cells[0] == "acme/rare"][1:] == ["too few to"] * 4


def test_approvals_denied_and_bypassed() -> None:
    changes = [span for span in NOW if span.get("access") == "write"]
    denied = [span for span in changes if span["approval"] == "denied"]
    ran = sum(span["status"] == "ok" for span in denied)
    unanswered = sum(span["approval"] == "requested" and span["status"] == "ok" for span in changes)
    assert (
        f"Of {len(changes)} changes by agents, the approval of {len(denied)} was denied; {ran} of those ran all the same, "
        f"and {unanswered} more ran before anybody answered."
    ) in TEXT


@pytest.mark.parametrize("rule", ["noisy", "sound"])
def test_pages_by_rule_and_how_many_were_acted_on(rule: str) -> None:
    pages = [(page, mark) for _, page, mark in told() if page["rule"] == rule]
    this_week = [mark["mark"] for page, mark in pages if MONDAY <= page["at"] < MONDAY + WEEK]
    marks = [mark["mark"] for _, mark in pages if mark["mark"]]
    told_, acted, reading = row(f"acme/{rule}", "page")
    assert (told_, acted) == (str(len(this_week)), str(sum(map(bool, this_week))))
    assert f"({marks.count('useful')} of {len(marks)} useful)" in reading
    assert ("proposed for demotion" in reading) == (rule == "noisy")
