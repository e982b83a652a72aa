"""Ids, names, their lengths and the order of the corpus do not tell what is wrong from what is healthy.

A decision stump looks for the one number that parts the two best on some seeds, and is tried on others. It must do
little better than a coin there; where a hint is planted it must find it, or the test would prove nothing.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.corpus.generate import corpus
from tests.corpus.truth import Trajectory

TRAINING, TRIAL = range(10), range(200, 210)
BETTER_THAN_A_COIN = 0.06  # about two and a half standard deviations at this number of trajectories
Features = list[tuple[dict[str, float], bool]]
Numbers = npt.NDArray[Any]


def number(text: object) -> float:
    """A number between 0 and 1 that depends on the text alone."""
    return int(hashlib.sha256(str(text).encode()).hexdigest()[:8], 16) / 2**32


def features(trajectories: list[Trajectory]) -> Features:
    """What can be known of a trajectory without looking at what happens in it."""
    found = []
    for place, trajectory in enumerate(trajectories):
        spans = [event for event in trajectory.events if event["type"] == "agent_span"]
        first = spans[0]
        known: dict[str, float] = {"place": place % 67, "starts": float(first["event_time"])}
        for name in ("tenant", "trace_id", "span_id", "session_id", "agent_id", "model", "task_type", "tool_name"):
            value = next((event[name] for event in spans if name in event), "")
            known |= {
                f"{name} length": len(value),
                f"{name} hash": number(value),
                f"{name} begins": ord((value or " ")[0]),
            }
            known[f"{name} is {value}"] = 1.0
        found.append((known, trajectory.truth.is_positive))
    return found


def balanced(values: Numbers, is_positive: Numbers, threshold: float, above: bool) -> float:
    """Mean of the shares of positives and of negatives that the stump gets right."""
    said = (values >= threshold) == above
    return float((said[is_positive].mean() + (~said[~is_positive]).mean()) / 2)


def best_on_trial(training: Features, trial: Features) -> float:
    """The stump that is best on the one, on the other."""

    def column(data: Features, name: str) -> Numbers:
        return np.array([known.get(name, 0.0) for known, _ in data])

    def truth(data: Features) -> Numbers:
        return np.array([is_positive for _, is_positive in data])

    is_positive = truth(training)
    stumps: list[tuple[float, str, float, bool]] = []
    for name in sorted({name for known, _ in training for name in known}):
        known = column(training, name)
        values = sorted(set(known.tolist()))
        stumps += [
            (balanced(known, is_positive, threshold, above), name, threshold, above)
            for threshold in values[:: max(1, len(values) // 12)]
            for above in (True, False)
        ]
    _, name, threshold, above = max(stumps)
    return balanced(column(trial, name), truth(trial), threshold, above)


@pytest.fixture(scope="module")
def data() -> Mapping[str, Features]:
    """Features of seeds to learn from and of others."""
    return {"training": features(corpus(TRAINING)), "trial": features(corpus(TRIAL))}


def test_names_ids_and_order_are_no_hint(data: Mapping[str, Features]) -> None:
    assert best_on_trial(data["training"], data["trial"]) < 0.5 + BETTER_THAN_A_COIN


def test_a_planted_hint_is_found(data: Mapping[str, Features]) -> None:
    def planted(found: Features) -> Features:
        return [
            (known | {"agent_id length": known["agent_id length"] + 9 * is_wrong}, is_wrong)
            for known, is_wrong in found
        ]

    assert best_on_trial(planted(data["training"]), planted(data["trial"])) > 0.8
