"""How loud an incident is, and why it became louder: critical where a person is needed now. Pure."""

from pipeline.correlation.case import Case
from schemas.incidents import SEVERITIES, Exhaustion, Incident, Kind, Severity
from schemas.resources import name_of

INFO, WARNING, CRITICAL = SEVERITIES
MANY_TOKENS = 1_000_000  # unplanned tokens from which a loop or burn is critical


def of_failure(case: Case) -> Severity:
    """Critical with the first symptom that does not pass by itself."""
    return CRITICAL if case.strong else WARNING


def of_session(case: Case, kind: Kind, waste: Exhaustion | None) -> Severity:
    """Critical where a loop has burned much; info where all that was said is."""
    if kind == "feedback_loop" and waste is not None and waste.unplanned_tokens >= MANY_TOKENS:
        return CRITICAL
    return INFO if all(signal.severity == INFO for signal in case.newest.values()) else WARNING


def reason(case: Case, incident: Incident) -> str:
    """Why this incident has the severity it has, for somebody who was told another one before."""
    if case.subject == "place":
        strong = [signal for signal in case.newest.values() if signal.details.get("is_strong")]
        first = min(strong, key=lambda signal: (signal.detected_at, signal.signal_id), default=None)
        if first is not None:
            return f"{first.details['reason']} of {name_of(first.resource or '')}"
        return f"{name_of(min(case.strong))} does not recover by itself" if case.strong else "nothing strong is left"
    if incident.severity == CRITICAL and incident.exhaustion is not None:
        return f"{incident.exhaustion.unplanned_tokens:,} unplanned tokens, critical from {MANY_TOKENS:,}"
    of_it = [signal for signal in case.newest.values() if signal.severity == incident.severity]
    newest = max(of_it or case.newest.values(), key=lambda signal: (signal.detected_at, signal.signal_id))
    return newest.summary
