"""The same case under other names, told in another order within the lateness."""

import json
import random
from dataclasses import replace

from schemas.times import MICROS
from tests.causes.failures import Failure
from tests.causes.telling import LONGEST_DELAY, Event
from tests.corpus.names import hexadecimal

IDS = ("tenant", "trace_id", "span_id", "session_id", "agent_id", "event_id", "actor")
PLACES = ("resource", "target", "value", "previous_value")


class Names:
    """Old name -> new one, the same wherever it stands. What a name is built from keeps its build."""

    def __init__(self, case: Failure, seed: int) -> None:
        self.rng = random.Random(f"renaming {seed} {case.tenant}")
        self.known: dict[str, str] = {}
        places = {event[field] for event in case.events for field in PLACES if "/" in str(event.get(field))}
        self.owners = {place.rsplit("/", 1)[1] for place in places if "/pod/" not in place and "/flag/" not in place}

    def new(self, name: str) -> str:
        """Another name of a random length, in letters so that no number is read out of it."""
        if name not in self.known:
            self.known[name] = "".join(self.rng.choice("bcdfghklmnprstvz") for _ in range(self.rng.randint(6, 14)))
        return self.known[name]

    def place(self, resource: str) -> str:
        """`cluster/namespace/kind/name`: a pod still bears the name of its owner."""
        cluster, namespace, kind, name = resource.split("/")
        owner = max((one for one in self.owners if name.startswith(one + "-")), key=len, default=None)
        if kind == "pod" and owner is not None:
            rest = name[len(owner) + 1 :].split("-")
            called = "-".join([self.new(owner), *(part if part.isdigit() else self.hash(part) for part in rest)])
        else:
            called = self.new(name)
        return f"{self.new(cluster)}/{self.new(namespace)}/{kind}/{called}"

    def hash(self, part: str) -> str:
        """A generated part of a pod's name, of the same length."""
        if part not in self.known:
            self.known[part] = hexadecimal(self.rng, len(part))
        return self.known[part]

    def text(self, value: str) -> str:
        """A resource or a value; numbers stay what they are."""
        if value.count("/") == 3:
            return self.place(value)
        return value if value.isdigit() or value == "on" else self.new(value)


def renamed(case: Failure, seed: int) -> tuple[Failure, dict[str, str]]:
    """The case with every tenant, place, agent, person, id and version renamed; and old id -> new id."""
    names = Names(case, seed)
    events = [_renamed(event, names) for event in case.events]
    causes = frozenset(names.new(cause) for cause in case.causes)
    return replace(case, tenant=names.new(case.tenant), events=tuple(events), causes=causes), names.known


def _renamed(event: Event, names: Names) -> Event:
    changed = {field: names.new(event[field]) for field in IDS if field in event}
    changed |= {field: names.text(event[field]) for field in PLACES if isinstance(event.get(field), str)}
    if labels := event.get("labels"):
        changed["labels"] = json.dumps({"node": names.new(json.loads(labels)["node"])})
    return event | changed


def reordered(case: Failure, seed: int) -> Failure:
    """Every event reaches the broker at another moment within the lateness."""
    rng = random.Random(f"reordering {seed} {case.tenant}")
    longest = round(LONGEST_DELAY * MICROS)
    events = [event | {"ingest_time": event["event_time"] + rng.randrange(longest)} for event in case.events]
    rng.shuffle(events)
    return replace(case, events=tuple(events))
