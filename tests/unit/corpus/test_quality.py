"""The bench: what counts as right, what a switched-off detector scores, and that names do not matter to it."""

import json

import pytest

from bench.quality import main, seeds_of
from bench.quality_corpus import Alarm, by_family, by_kind, judge, limits_of, measure, switched_off
from pipeline.correlation import correlator
from pipeline.operators.detect import DETECTORS
from schemas.errors import UsageError
from tests.corpus.generate import corpus
from tests.corpus.renaming import renamed
from tests.corpus.truth import Trajectory, Truth

LOOPS = ["loop.exact", "loop.cycle", "loop.same_meaning", "loop.retry_storm"]


def trajectory(begins_at: int | None, *kinds: str) -> Trajectory:
    """One of which only the truth matters."""
    return Trajectory(
        "t", (), (), Truth(family="f", variant="", is_positive=begins_at is not None, kinds=kinds, begins_at=begins_at)
    )


def test_an_alarm_is_right_when_kind_and_time_are() -> None:
    wrong = trajectory(10_000_000, "feedback_loop")
    early = judge(wrong, [Alarm("feedback_loop", 9_999_999)])
    assert early.right is None
    assert early.false_kinds == {"feedback_loop"}
    both = judge(wrong, [Alarm("governance_breach", 12_000_000), Alarm("feedback_loop", 13_000_000)])
    assert both.right == Alarm("feedback_loop", 13_000_000)
    assert both.delay == 3.0
    assert both.false_kinds == {"governance_breach"}


def test_every_alarm_on_a_healthy_trajectory_is_false() -> None:
    verdict = judge(trajectory(None), [Alarm("feedback_loop", 1)])
    assert verdict.right is None
    assert verdict.false_kinds == {"feedback_loop"}


def test_precision_of_a_kind_counts_the_healthy_and_recall_only_its_own() -> None:
    loop = Alarm("feedback_loop", 20_000_000)
    verdicts = [
        judge(trajectory(10_000_000, "feedback_loop"), [loop]),
        judge(trajectory(10_000_000, "feedback_loop"), []),
        judge(trajectory(10_000_000, "governance_breach"), [loop]),
        judge(trajectory(None), [loop, loop]),
    ]
    score = by_kind(verdicts)["feedback_loop"]
    assert (score.positives, score.found, score.falsely) == (2, 1, 2)
    assert score.precision == pytest.approx(1 / 3)
    assert score.recall == 0.5
    assert score.f1 == pytest.approx(0.4)
    assert by_family(verdicts)["f"].falsely == 2


def test_with_its_detector_switched_off_a_family_scores_nothing() -> None:
    told = corpus([3], LOOPS)
    on, off = measure(told), measure(told, off=["feedback_loop"])
    assert {name: score.recall for name, score in on.ours.items()} == dict.fromkeys(LOOPS, 1.0)
    assert {name: score.recall for name, score in off.ours.items()} == dict.fromkeys(LOOPS, 0.0)
    assert {name: score.recall for name, score in off.naive.items()} == {
        name: score.recall for name, score in on.naive.items()
    }


def test_a_detector_that_runs_in_correlate_can_be_switched_off_too() -> None:
    told = corpus([0, 2], ["rate.spike"])
    assert measure(told).ours["rate.spike"].found > 0
    assert measure(told, off=["call_rate"]).ours["rate.spike"].found == 0


CARRIED = {
    "feedback_loop": ("loop.near_paraphrase", "loop.failed_edits", "loop.back_and_forth", "loop.with_compaction"),
    "monologue": ("loop.no_tool",),
    "hand_off": ("loop.fan_out",),
    "restarted_run": ("loop.split_history",),
    "repeated_run": ("loop.cron",),
    "budget_burn": ("burn.budget",),
    "token_burn": ("burn.session",),
    "token_spike": ("burn.baseline",),
    "context_overload": ("context.overload",),
    "refused_calls": ("rate.throttling",),
    "stuck_tool": ("tool.stuck",),
    "governance": ("limit.steps", "limit.tool"),
    "unguarded_change": ("governance.no_approval", "governance.blind_write", "governance.permissions"),
    "careless_change": ("governance.stale_decision", "governance.all_at_once", "governance.freeze"),
}


@pytest.mark.parametrize("detector", CARRIED)
def test_no_family_is_found_by_anything_but_its_own_detector(detector: str) -> None:
    told = corpus([2], CARRIED[detector])
    on, off = measure(told), measure(told, off=[detector])
    assert {name: score.recall for name, score in on.ours.items()} == dict.fromkeys(CARRIED[detector], 1.0)
    assert {name: score.found for name, score in off.ours.items()} == dict.fromkeys(CARRIED[detector], 0)


def test_what_was_switched_off_is_there_again_and_an_unknown_name_is_refused() -> None:
    before, rates = dict(DETECTORS), vars(correlator)["call_rate"]
    with switched_off(["feedback_loop", "call_rate"]):
        assert before != DETECTORS
        assert vars(correlator)["call_rate"] is not rates
    assert before == DETECTORS
    assert vars(correlator)["call_rate"] is rates
    with pytest.raises(UsageError, match="no detector nonsense; there are"), switched_off(["nonsense"]):
        pass


def test_other_names_and_another_order_of_lines_change_no_verdict() -> None:
    told = corpus([3], [*LOOPS, "limit.steps", "governance.denied", "burn.session", "healthy.batch", "healthy.bursty"])
    again = [renamed(one, seed=1) for one in reversed(told)]
    verdicts = {v.truth.family: (v.right, v.false_kinds) for v in measure(told).verdicts}
    assert any(right for right, _ in verdicts.values())
    assert {v.truth.family: (v.right, v.false_kinds) for v in measure(again).verdicts} == verdicts


def test_a_limit_that_the_engine_does_not_know_is_named_and_left_out() -> None:
    one = Trajectory(
        "t",
        (),
        (
            {"match": {"tenant": "t"}, "max_steps": 7},
            {"match": {"tenant": "t"}, "limit_of_the_future": 1},
            {"match": {"moon": "full"}, "max_steps": 1},
        ),
        trajectory(None).truth,
    )
    limits, unknown = limits_of([one])
    assert limits.value("max_steps", "t", "any") == 7
    assert unknown == ["limit_of_the_future", "moon"]


def test_setting_and_reporting_seeds_are_not_mixed() -> None:
    assert seeds_of("100..104") == range(100, 105)
    assert seeds_of("3") == range(3, 4)
    with pytest.raises(UsageError, match="for setting"):
        seeds_of("4..5")
    with pytest.raises(UsageError, match="smaller one first"):
        seeds_of("7..6")


def test_a_wrong_argument_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--left-out", "loop.none"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench.quality: no family loop.none")
    assert said.count("\n") == 1


def test_the_document_holds_every_family_and_the_table_marks_the_one_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bench.quality.corpus", lambda seeds, without=None: corpus(seeds, [*LOOPS, "healthy.batch"], without)
    )
    assert main(["--seeds", "3", "--left-out", "loop.cycle", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["families"]) == {*LOOPS, "healthy.batch"} - {"loop.cycle"}
    assert document["kinds"]["feedback_loop"]["ours"]["recall"] == 1.0
    assert main(["--seeds", "300", "--left-out", "loop.cycle"]) == 0
    table = capsys.readouterr().out
    assert "loop.cycle*" in table
    assert "healthy.batch" in table
