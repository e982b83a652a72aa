"""Whether what tells of changes speaks: without agents' traces, or the cluster's events, nobody is cleared. Pure.

A partition that does not go on is told of in the log (a gap record), and a copy runs ahead without it. This is about
one tenant, whose partitions go on for the sake of others: its own source may never have come, or may have stopped.

silent, around the start of a failure, is a source that
    never spoke           nothing of this kind has come from the tenant so far
    stopped speaking      it spoke steadily, as an agent does that calls (Pulse, silence.py), then not for five minutes,
                          or two more than it ever paused in the hour before
One that speaks now and then cannot be told to be silent; nor is it, for a quiet cluster has little to say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.detectors.silence import MORE_THAN_EVER, QUIET, Pulse
from schemas.signals import Action, Fact, Row, Signal, Usage
from schemas.times import MINUTE, format_time
from schemas.topics import EVENTS, TRACES

NAMES = {TRACES.name: "agents' traces", EVENTS.name: "events of the cluster"}
BEFORE = 5 * MINUTE  # a change breaks things within minutes (factors.USUAL): silence that ended earlier hides little
KEEP = 90 * MINUTE
MOST_SILENCES = 20  # of a source; of more the newest


@dataclass(slots=True)
class Sources:
    """What one tenant was heard of when. silences: those that have ended, from its last word to the next."""

    pulses: dict[str, Pulse] = field(default_factory=dict)
    silences: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def twin(self) -> "Sources":
        """A copy that lives on by itself."""
        pulses = {name: Pulse(one.minute, one.active, one.last) for name, one in self.pulses.items()}
        return Sources(pulses, {name: list(known) for name, known in self.silences.items()})

    def hear(self, pane: int, rows: Iterable[Row]) -> None:
        """Take in what one pane tells."""
        for topic in sorted({topic for row in rows if (topic := _topic(row)) is not None}):
            pulse = self.pulses.setdefault(topic, Pulse())
            if _was_silent(pulse, pane):
                known = [*self.silences.get(topic, ()), (pulse.last, pane)][-MOST_SILENCES:]
                self.silences[topic] = [one for one in known if one[1] >= pane - KEEP]
            pulse.call(pane)

    def silent(self, began: int, now: int) -> dict[str, str]:
        """Topic -> what is to be said of it, of those that may hide what caused a failure that began at `began`."""
        found = {}
        for topic, name in NAMES.items():
            pulse = self.pulses.get(topic)
            if pulse is None:
                found[topic] = f"no {name} ever came, so nobody can be cleared by them"
                continue
            silences = list(self.silences.get(topic, ()))
            if _was_silent(pulse, now):
                silences.append((pulse.last, now))
            since = next((since for since, until in silences if since < began and until > began - BEFORE), None)
            if since is not None:
                found[topic] = f"{name} were silent from {format_time(since)} on"
        return found


def unseen(silent: Mapping[str, str], partitions: Mapping[str, float]) -> tuple[float, tuple[str, ...]]:
    """How many of the sources that tell of changes are silent, the silent part of one as a fraction; and the reasons.

    partitions: topic -> the part of its partitions that does not go on.
    """
    amount = sum(1.0 if topic in silent else partitions.get(topic, 0.0) for topic in NAMES)
    parts = [
        f"a part of {NAMES[topic]} does not come" for topic in NAMES if partitions.get(topic) and topic not in silent
    ]
    return amount, (*silent.values(), *parts)


def _topic(row: Row) -> str | None:
    if isinstance(row, Action | Usage):
        return TRACES.name
    if isinstance(row, Fact):
        return EVENTS.name
    return EVENTS.name if isinstance(row, Signal) and row.family == "symptom" and "reason" in row.details else None


def _was_silent(pulse: Pulse, now: int) -> bool:
    """Whether it spoke steadily, and now has not for longer than is usual for it."""
    return pulse.is_steady(pulse.last) and now - pulse.last >= max(QUIET, pulse.pause + MORE_THAN_EVER)
