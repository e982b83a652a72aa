"""Follow-ups, each derived from a gap that stands above. No owner is made up: people add theirs."""

from collections.abc import Iterable

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Row, Template
from reports.postmortem.section import Section
from reports.postmortem.sections.overview import has_availability
from reports.postmortem.sections.prevention import NOT_GAPS
from reports.postmortem.wording import INCIDENT, THE_INCIDENT, count, resource, sentence


def _limit(row: Row) -> tuple[str, ...]:
    limit, _, state = row["gap"].partition(":")
    was = f" In this incident: {sentence(state)}" if state.strip() else ""
    return (f"Enforce for {row['component']}: {sentence(limit)}{was}",)


LIMIT = Template(
    name="follow_up.limit",
    sql=f"""WITH {INCIDENT}
SELECT JSONExtractString(governance_gaps, {{number:UInt32}}, 'component') AS component,
    JSONExtractString(governance_gaps, {{number:UInt32}}, 'gap') AS gap
FROM i WHERE gap != ''""",
    rests_on=(THE_INCIDENT,),
    say=_limit,
    missing=lambda _: ("A limit to enforce: not observed.",),
)
FACT = Template(
    name="follow_up.fact",
    sql=f"""WITH {INCIDENT}
SELECT JSONExtractString(context_gaps, {{number:UInt32}}, 'resource') AS resource,
    JSONExtractString(context_gaps, {{number:UInt32}}, 'source') AS source, agent_id
FROM i WHERE resource != ''""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (
        f"Let {row['agent_id'] or 'the agent'} ask {row['source'] or 'for the state'} about {resource(row['resource'])} "
        "before it acts there.",
    ),
    missing=lambda _: ("A fact to read: not observed.",),
)
AVAILABILITY = Template(
    name="follow_up.availability",
    sql=f"""WITH {INCIDENT}
SELECT JSONLength(blast_radius) AS resources FROM i WHERE resources > 0""",
    rests_on=(THE_INCIDENT,),
    say=lambda row: (
        f"Publish an availability metric for the {count(row['resources'], 'affected resource')}: downtime could not be "
        "told.",
    ),
    missing=lambda _: ("Availability: not observed.",),
)
NOTHING = Template(
    name="follow_up.nothing",
    sql=f"""WITH {INCIDENT}
SELECT status FROM i WHERE JSONLength(governance_gaps) = 0 AND JSONLength(context_gaps) = 0""",
    rests_on=(THE_INCIDENT,),
    say=lambda _: ("No follow-up comes out of the gaps: none was observed.",),
    missing=lambda _: ("Follow-ups: not observed.",),
)


def plan(case: Case) -> Iterable[Ask]:
    """A follow-up a gap, and one for what could not be told."""
    asks = [Ask(LIMIT, case.ask(number=number)) for number, _ in enumerate(case.governance_gaps, 1)]
    asks += [
        Ask(FACT, case.ask(number=number))
        for number, gap in enumerate(case.context_gaps, 1)
        if gap.class_ not in NOT_GAPS
    ]
    if not asks:
        asks.append(Ask(NOTHING, case.ask()))
    if case.resources and not has_availability(case):
        asks.append(Ask(AVAILABILITY, case.ask()))
    return asks


SECTION = Section("Follow-ups", (), (LIMIT, FACT, AVAILABILITY, NOTHING), plan)
