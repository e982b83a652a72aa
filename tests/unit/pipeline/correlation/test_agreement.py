"""Weak symptoms together: what each says, and how much more they must say where many come to nothing."""

import json
import random

import pytest

from pipeline.core.limits import Limits
from pipeline.core.plain import decode, encode
from pipeline.correlation.agreement import ENOUGH, Noise, needed, said_together
from pipeline.correlation.correlator import Correlator
from pipeline.operators.state import CLASSES
from schemas.signals import Signal
from schemas.times import MINUTE
from tests.builders import PANE, at

PAY = "prod/shop/deployment/pay"
CART = "prod/shop/deployment/cart"


def jump(seconds: float, metric: str, resource: str = PAY, beyond: float = 2.0) -> Signal:
    """A metric that is `beyond` times as far off as it may be."""
    moment, name = at(seconds), f"{resource}-{metric}-{seconds}"
    cited = {"type": "symptom", "topic": "system.metrics.v1", "partition": 0, "offset": 0, "event_id": name}
    cited |= {"event_time": moment, "resource": resource, "shows": name}
    details = {"metric": metric, "labels": None, "is_over": False, "spacing_seconds": 15.0, "limit": 5.0}
    return Signal(
        signal_id=name, type="symptom.spike", tenant="acme", scope="prod/shop", resource=resource, score=5.0 * beyond,
        window_start=moment, window_end=moment, detected_at=moment + PANE, summary=name,
        evidence=json.dumps(details | {"references": [cited]}),
    )  # fmt: skip


def warning(reason: str) -> Signal:
    return Signal(
        signal_id=reason, type="symptom.kubernetes", tenant="acme", resource=PAY, window_start=0, window_end=0,
        detected_at=0, evidence=json.dumps({"reason": reason}),
    )  # fmt: skip


def test_a_lone_metric_waits_however_far_off_it_is_and_two_that_are_far_off_are_enough() -> None:
    assert said_together([jump(0, "latency", beyond=1000), jump(5, "latency", beyond=1000)]) == 0.0
    barely = [jump(0, "latency", CART, 1.1), jump(0, "latency", PAY, 1.1)]
    assert said_together(barely) < ENOUGH
    assert said_together([jump(0, "latency", CART, 3), jump(0, "latency", PAY, 3)]) >= ENOUGH


def test_metrics_of_one_resource_and_load_say_less_and_three_warnings_are_enough() -> None:
    apart = said_together([jump(0, "latency", CART), jump(0, "errors", PAY)])
    assert said_together([jump(0, "latency"), jump(0, "errors")]) < apart
    assert said_together([jump(0, "requests", CART), jump(0, "errors", PAY)]) < apart
    assert said_together([warning("A"), warning("B")]) < ENOUGH <= said_together([warning(name) for name in "ABC"])


def test_what_is_needed_keeps_chance_below_one_in_a_thousand_waits() -> None:
    assert needed(0.0) == needed(0.01) == ENOUGH
    draw = random.Random(5)
    for expected in (0.5, 1.0, 3.0):
        enough, false = needed(expected), 0
        for _ in range(4_000):
            number, left = 0, draw.expovariate(1)
            while left < expected:
                number, left = number + 1, left + draw.expovariate(1)
            false += number >= enough
        assert enough > ENOUGH
        assert false <= 8, "twice what is expected of 4,000 waits"
        assert enough <= expected + 5 * expected**0.5 + 2, "and asks for no more than that"


def test_noise_fades_over_a_day() -> None:
    noise = Noise(0.0, 0, 0)
    for number in range(48):
        noise.add(number * 30 * MINUTE)
    day = 24 * 60 * MINUTE
    assert noise.expected(day, 5 * MINUTE) == pytest.approx(48 * (1 - 0.368) * 5 / (24 * 60), rel=0.05)
    assert noise.expected(4 * day, 5 * MINUTE) < 0.01


def test_where_weak_symptoms_often_come_to_nothing_more_of_them_must_agree() -> None:
    """The same two symptoms open an incident in a calm namespace, and none in one that flutters all the time."""
    calm, noisy = (Correlator("acme", PANE, Limits()) for _ in range(2))
    for number in range(200):  # one metric, every six minutes, for 20 hours
        assert noisy.apply(at(360 * number), [jump(360 * number, "latency", CART, 1.0)]) == []
    copy = Correlator("acme", PANE, Limits())
    copy.restore(decode(encode(noisy.saved(), CLASSES), CLASSES))
    last = 360 * 200
    both = [jump(last, "latency", CART, 2.2), jump(last, "latency", PAY, 2.2)]
    assert [incident.kind for incident in calm.apply(at(last), both)] == ["infrastructure_failure"]
    assert noisy.apply(at(last), both) == copy.apply(at(last), both) == []
    more = [jump(last, metric, PAY, 9.0) for metric in ("errors", "memory")]
    assert [incident.kind for incident in noisy.apply(at(last) + PANE, more)] == ["infrastructure_failure"]
