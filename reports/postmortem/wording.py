"""The pieces that templates share: the common parts of their queries, and how values are put into words."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from schemas.resources import kind_of, name_of
from schemas.times import format_span

INCIDENT = """i AS
(
    SELECT * FROM incident_revisions
    WHERE incident_id = {incident_id:String} AND revision = {revision:Int64}
    LIMIT 1
)"""
SPANS = """spans AS
(
    SELECT *, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began
    FROM agent_traces FINAL
    WHERE tenant = (SELECT tenant FROM i) AND session_id = {session_id:String}
)"""
SPAN = """span AS
(
    SELECT *, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began
    FROM agent_traces FINAL
    WHERE tenant = (SELECT tenant FROM i) AND span_id = {span_id:String}
    ORDER BY event_time, trace_id
    LIMIT 1
)"""
EVENT = """event AS
(
    SELECT *, coalesce(valid_from, event_time) AS holds_from, coalesce(published_time, event_time) AS published
    FROM cluster_events FINAL
    WHERE tenant = (SELECT tenant FROM i) AND event_id = {event_id:String}
    ORDER BY event_time, topic, partition, offset
    LIMIT 1
)"""
THE_INCIDENT = "incident {incident_id}"
THE_SESSION = "session {session_id}"
THE_SPAN = "span {span_id}"
THE_EVENT = "event {event_id}"
LONGEST_ARGUMENTS = 160  # characters
LONGEST_QUOTE = 600
MOST_NAMES = 8
HOUR = 3600 * 1_000_000


def clock(moment: datetime) -> str:
    """`14:09:02` in UTC."""
    return f"{moment:%H:%M:%S}"


def span(length: timedelta) -> str:
    """`3 min 10 s`."""
    return format_span(length // timedelta(microseconds=1))


def resource(name: str) -> str:
    """`deployment/cart` of `prod-eu/checkout/deployment/cart`."""
    return f"{kind_of(name)}/{name_of(name)}" if kind_of(name) else name


def cut(text: str, longest: int) -> str:
    """The text, and dots where it is longer."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def sentence(text: str) -> str:
    """The text with one full stop at its end."""
    return f"{text.strip().rstrip('.')}."


def count(number: int, one: str, many: str = "") -> str:
    """`1 call`, `2,000 calls`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def names(found: list[str], most: int = MOST_NAMES) -> str:
    """A list in words, cut where it is long."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def probability(value: float) -> str:
    """`92%`; what rounds to none or all is said as a bound, for nothing here is certain."""
    if value < 0.01:
        return "below 1%"
    return "above 99%" if value > 0.99 else f"{value:.0%}"


def called(row: Mapping[str, object]) -> str:
    """`capacity-agent 2.4.1 called kubernetes.scale on deployment/cart {"replicas":24}`."""
    who = f"{row['agent_id']} {row['agent_version']}".strip()
    on = f" on {resource(str(row['target']))}" if row["target"] else ""
    with_ = f" with {cut(str(row['tool_args']), LONGEST_ARGUMENTS)}" if row["tool_args"] else ""
    return f"{who} called {row['tool_name'] or row['operation']}{on}{with_}"


def happened(row: Mapping[str, object], *, is_short: bool = False) -> str:
    """`scale of deployment/cart from 6 to 24, by a controller`. Persons are not named; the reference leads to them."""
    where = resource(str(row["resource"]))
    kind = str(row["kind"])
    said = "" if is_short else cut(str(row["message"]), LONGEST_QUOTE)
    if kind == "kubernetes":
        times = f" ({row['count']} times)" if isinstance(row["count"], int) and row["count"] > 1 else ""
        return f"{row['reason']} on {where}{times}" + (f": {said}" if said else "")
    before, after = row["previous_value"], row["value"]
    moved = (f" from {before}" if before else "") + (f" to {after}" if after else "")
    actors = {"agent": ", by an agent", "human": ", by a person", "controller": ", by a controller"}
    what = f"{kind} of {where}{moved}{actors.get(str(row['actor_kind']), '')}"
    return what + (f": {said}" if said else "")
