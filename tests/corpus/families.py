"""Every family of trajectories: its name, how it is told, and which kinds of incident are right for it.

A family without a kind is healthy: every alarm is false. Where two kinds are given, either is right.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.corpus import breaches, exhaustion, field, field_fleet, healthy, healthy_rates, loops, loops_between
from tests.corpus.telling import Scene

LOOP = ("feedback_loop",)
EXHAUSTION = ("resource_exhaustion",)
BREACH = ("governance_breach",)


@dataclass(frozen=True, slots=True)
class Family:
    """tell: takes a fresh scene and the seed, by which variants take turns."""

    name: str
    tell: Callable[[Scene, int], None]
    kinds: tuple[str, ...] = ()

    @property
    def is_positive(self) -> bool:
        """Whether something is wrong in it."""
        return bool(self.kinds)


POSITIVES = (
    Family("loop.exact", loops.exact, LOOP),
    Family("loop.cycle", loops.cycle, LOOP),
    Family("loop.same_meaning", loops.same_meaning, LOOP),
    Family("loop.near_paraphrase", loops.near_paraphrase, LOOP),
    Family("loop.near_jitter", loops.near_jitter, LOOP),
    Family("loop.with_strangers", loops.with_strangers, LOOP),
    Family("loop.volatile_results", loops.volatile_results, LOOP),
    Family("loop.retry_storm", loops.retry_storm, LOOP),
    Family("loop.waits_between", loops.waits_between, LOOP),
    Family("loop.no_tool", loops.no_tool, LOOP),
    Family("loop.with_compaction", loops.with_compaction, LOOP),
    Family("loop.ping_pong", loops_between.ping_pong, LOOP),
    Family("loop.fan_out", loops_between.fan_out, LOOP),
    Family("loop.cron", loops_between.cron, LOOP),
    Family("loop.split_history", loops_between.split_history, LOOP),
    Family("loop.failed_edits", field.failed_edits, LOOP),
    Family("loop.back_and_forth", field.back_and_forth, LOOP),
    Family("loop.other_options", field.other_options, LOOP),
    Family("burn.budget", exhaustion.burn_of_budget, EXHAUSTION),
    Family("burn.session", exhaustion.burn_of_session, EXHAUSTION),
    Family("burn.baseline", exhaustion.burn_of_baseline, EXHAUSTION),
    Family("context.overload", exhaustion.context_overload, EXHAUSTION),
    Family("rate.spike", exhaustion.rate_spike, EXHAUSTION),
    Family("rate.throttling", exhaustion.throttling, EXHAUSTION),
    Family("rate.silence", exhaustion.silence, EXHAUSTION),
    Family("rate.quota_by_and_by", field_fleet.quota_by_and_by, EXHAUSTION),
    Family("rate.whole_fleet_stops", field_fleet.whole_fleet_stops, EXHAUSTION),
    Family("rate.one_tool_floods", field_fleet.one_tool_floods, EXHAUSTION),
    Family("tool.stuck", exhaustion.stuck_tool, EXHAUSTION),
    Family("limit.steps", breaches.step_limit, BREACH),
    Family("limit.tool", breaches.tool_not_allowed, BREACH),
    Family("limit.target", breaches.target_not_allowed, BREACH),
    Family("limit.calls", breaches.calls_of_run, (*BREACH, *EXHAUSTION)),
    Family("governance.no_approval", breaches.without_approval, BREACH),
    Family("governance.denied", breaches.denied, BREACH),
    Family("governance.blind_write", breaches.blind_write, BREACH),
    Family("governance.no_summary", breaches.without_summary, BREACH),
    Family("governance.stale_decision", breaches.stale_decision, BREACH),
    Family("governance.all_at_once", breaches.all_at_once, BREACH),
    Family("governance.permissions", breaches.permission_change, BREACH),
    Family("governance.freeze", breaches.during_freeze, BREACH),
    Family("version.regression", breaches.worse_version, (*BREACH, *EXHAUSTION)),
)
NEGATIVES = (
    Family("healthy.poll_that_changes", healthy.poll_that_changes),
    Family("healthy.instructed_poll", healthy.instructed_poll),
    Family("healthy.pagination", healthy.pagination),
    Family("healthy.batch", healthy.batch),
    Family("healthy.edit_and_test", healthy.edit_and_test),
    Family("healthy.retry_that_succeeds", healthy.retry_that_succeeds),
    Family("healthy.parallel_turn", healthy.parallel_turn),
    Family("healthy.volatile_results", healthy.volatile_results),
    Family("healthy.volatile_arguments", healthy.volatile_arguments),
    Family("healthy.no_text_arguments", healthy.no_text_arguments),
    Family("healthy.compaction", healthy.compaction),
    Family("healthy.split_history", healthy.split_history),
    Family("healthy.looks_again", healthy.looks_again),
    Family("healthy.bursty", healthy.bursty),
    Family("healthy.long_session", healthy.long_session),
    Family("healthy.conversation", healthy.conversation),
    Family("healthy.hand_offs", healthy.hand_offs),
    Family("healthy.scheduled", healthy.scheduled),
    Family("healthy.careful_change", healthy.careful_change),
    Family("healthy.edits_of_one_file", field.edits_of_one_file),
    Family("healthy.pages_on", field.pages_on),
    Family("healthy.other_way_once_more", field.other_way_once_more),
    Family("healthy.two_commands_in_turn", field.two_commands_in_turn),
    Family("healthy.scrolls_on", field.scrolls_on),
    Family("healthy.clicks_and_looks", field.clicks_and_looks),
    Family("healthy.waits_in_the_shell", field.waits_in_the_shell),
    Family("healthy.dead_links", field.dead_links),
    Family("healthy.finds_the_option", field.finds_the_option),
    Family("healthy.red_for_long", field.red_for_long),
    Family("healthy.within_budget", healthy_rates.within_budget),
    Family("healthy.cache_reads", healthy_rates.cache_reads),
    Family("healthy.seasons", healthy_rates.seasons),
    Family("healthy.few_calls", healthy_rates.few_calls),
    Family("healthy.growing_use", healthy_rates.growing_use),
    Family("healthy.varied_tasks", healthy_rates.varied_tasks),
    Family("healthy.refused_once", healthy_rates.refused_once),
    Family("healthy.fleet_goes_home", healthy_rates.fleet_goes_home),
    Family("healthy.refused_in_bursts", field_fleet.refused_in_bursts),
    Family("healthy.fleet_ends_well", field_fleet.fleet_ends_well),
    Family("healthy.batch_of_runs", field_fleet.batch_of_runs),
    Family("healthy.left_one_by_one", field_fleet.left_one_by_one),
    Family("healthy.mix_of_tools", field_fleet.mix_of_tools),
    Family("healthy.slow_tool", healthy_rates.slow_tool),
    Family("healthy.half_full_context", healthy_rates.half_full_context),
    Family("healthy.good_version", healthy_rates.good_version),
    Family("healthy.steady_fleet", healthy_rates.steady_fleet),
)
FAMILIES = POSITIVES + NEGATIVES
BY_NAME = {family.name: family for family in FAMILIES}
