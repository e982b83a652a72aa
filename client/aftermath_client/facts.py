"""The facts in force of one tenant, kept like `facts.v1`, and which of them concern a resource now.

The rules are those by which Aftermath judges afterwards what an agent did not know: facts of the resource itself, of
what owns it, of what it depends on (two steps), of its namespace, and of a whole place it is in or depends on. Written
by one thread, read by all: what others see is replaced as a whole.
"""

from dataclasses import dataclass
from typing import Any

from aftermath_client.clock import MINUTE

TELLING = ("maintenance", "freeze", "flag", "quota", "incident")
CHANGES = ("deploy", "scale", "config")
WINDOWS = ("maintenance", "freeze")
WIDE = ("namespace", "cluster", "flag", "quota")
FRESH = 15 * MINUTE  # so long a change without an end of its own is news
MOST_FACTS = 20_000
MOST_HOPS = 2
OWNED = ("pod", "replicaset")
OWNERS = ("deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob", "service")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something true of a resource; times are microseconds UTC, `valid_until` excluded."""

    fact_id: str
    kind: str
    resource: str
    published_time: int
    valid_from: int
    valid_until: int | None
    value: str | None
    source: str | None
    reason: str | None
    message: str | None
    actor: str | None
    session_id: str | None

    @property
    def says(self) -> str:
        """One line for the agent and for people."""
        what = self.message or self.value or self.reason or ""
        return f"{self.kind} on {self.resource}" + (f": {what}" if what else "") + f" [{self.fact_id}]"

    def holds(self, now: int) -> bool:
        """By its own times, and published."""
        is_known = self.published_time <= now and self.valid_from <= now
        return is_known and (self.valid_until is None or now < self.valid_until)

    def is_news(self, now: int) -> bool:
        """Whether an agent should know it now: a change is old after a while, unless it says until when it goes on."""
        if self.kind in TELLING:
            return True
        return self.kind in CHANGES and (self.valid_until is not None or now - self.valid_from < FRESH)


class Facts:
    """What is posted, by place, and what depends on what."""

    def __init__(self) -> None:
        self._posted: dict[str, Fact] = {}
        self._by_place: dict[str, tuple[Fact, ...]] = {}
        self._depends_on: dict[str, frozenset[str]] = {}
        self.left_out = 0

    def __len__(self) -> int:
        return len(self._posted)

    def put(self, key: str, record: dict[str, Any] | None) -> None:
        """Post a fact, or take down what stands under this key."""
        old = self._posted.pop(key, None)
        if old is not None:
            self._drop(old)
        if record is None:
            return
        if len(self._posted) >= MOST_FACTS:
            self.left_out += 1
            return
        fact = Fact(**{name: record[name] for name in Fact.__slots__})
        self._posted[key] = fact
        if fact.kind == "dependency":
            on = self._depends_on.get(fact.resource, frozenset())
            self._depends_on[fact.resource] = on | {fact.value or ""}
        else:
            for place in _places(fact.resource):
                self._by_place[place] = (*self._by_place.get(place, ()), fact)

    def _drop(self, fact: Fact) -> None:
        if fact.kind == "dependency":
            left = self._depends_on[fact.resource] - {fact.value or ""}
            if left:
                self._depends_on[fact.resource] = left
            else:
                del self._depends_on[fact.resource]
            return
        for place in _places(fact.resource):
            kept = tuple(other for other in self._by_place[place] if other is not fact)
            if kept:
                self._by_place[place] = kept
            else:
                del self._by_place[place]

    def about(self, target: str, now: int) -> list[Fact]:
        """What an agent should know of this resource now, oldest first."""
        on = self.dependencies(target)
        own, whole = place_of(target), _whole_of(target)
        found: set[Fact] = set()
        for place in {own, whole, *(place_of(resource) for resource in on)}:
            for fact in self._by_place.get(place, ()):
                if (
                    fact.is_news(now)
                    and self._holds(fact, now)
                    and (
                        place == whole
                        or fact.resource in on
                        or any(owns(resource, fact.resource) for resource in on)
                        or (place == own and not self._only_depends(fact.resource, target))
                        or (place != own and kind_of(fact.resource) in (*WIDE, None))
                    )
                ):
                    found.add(fact)
        return sorted(found, key=lambda fact: (fact.valid_from, fact.fact_id))

    def state(self, resource: str, kind: str, now: int) -> Fact | None:
        """The newest fact of this kind that holds for exactly this resource: its state, as far as it is known."""
        facts = [
            fact
            for fact in self._by_place.get(place_of(resource), ())
            if fact.resource == resource and fact.kind == kind and self._holds(fact, now)
        ]
        return max(facts, key=lambda fact: (fact.valid_from, fact.fact_id), default=None)

    def dependencies(self, target: str) -> set[str]:
        """What a resource depends on, at most two steps away, through what owns it too."""
        found: set[str] = set()
        edge = {target, *self._owners(target)}
        for _ in range(MOST_HOPS):
            on = {other for one in edge for other in self._depends_on.get(one, ())}
            edge = on.union(*(self._owners(other) for other in on)) - found
            found |= edge
        return found

    def _only_depends(self, resource: str, target: str) -> bool:
        """Whether it depends on the target, and is not of the same owner: load reaches the target, no knowledge."""
        is_same = resource == target or owns(resource, target) or owns(target, resource)
        return not is_same and any(on == target or owns(on, target) for on in self.dependencies(resource))

    def _owners(self, resource: str) -> list[str]:
        if kind_of(resource) not in OWNED:
            return []
        return [owner for owner in list(self._depends_on) if owns(owner, resource)]

    def _holds(self, fact: Fact, now: int) -> bool:
        """In force, and not replaced by a newer one about the same that has begun."""
        if not fact.holds(now):
            return False
        if fact.kind == "incident" or fact.valid_until is not None:
            return True
        return not any(
            other.kind == fact.kind
            and other.resource == fact.resource
            and (fact.valid_from, fact.fact_id) < (other.valid_from, other.fact_id)
            and other.valid_from <= now
            for other in self._by_place.get(place_of(fact.resource), ())
        )


def place_of(resource: str) -> str:
    """`prod-eu/checkout` of `prod-eu/checkout/deployment/cart`; what has no scope stands for its own."""
    return "/".join(resource.split("/")[:2])


def kind_of(resource: str) -> str | None:
    """`deployment` of `prod-eu/checkout/deployment/cart`."""
    parts = resource.split("/")
    return parts[2] if len(parts) >= 4 else None


def owns(owner: str, resource: str) -> bool:
    """Whether Kubernetes would have given `resource` its name because `owner` made it."""
    if kind_of(owner) not in OWNERS or kind_of(resource) not in OWNED or place_of(owner) != place_of(resource):
        return False
    prefix = owner.split("/", 3)[3] + "-"
    name = resource.split("/", 3)[3]
    if not name.startswith(prefix):
        return False
    parts = name[len(prefix) :].split("-")
    if kind_of(owner) == "statefulset":
        return len(parts) == 1 and parts[0].isdigit()
    return len(parts) <= 2 and all(len(part) >= 5 or part.isdigit() for part in parts)


def _places(resource: str) -> set[str]:
    """Where a fact is looked for: its scope; what stands for a whole cluster, there too."""
    is_whole = kind_of(resource) == "cluster" or "/" not in resource
    return {place_of(resource), _whole_of(resource)} if is_whole else {place_of(resource)}


def _whole_of(resource: str) -> str:
    return resource.split("/", 1)[0] + "//"
