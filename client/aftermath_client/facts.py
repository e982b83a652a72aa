"""The facts in force of one tenant, kept like `facts.v1`, and which of them concern a resource now.

The rules are those by which Aftermath judges afterwards what an agent did not know: facts of the resource itself, of
what owns it, of what it depends on (two steps), of its namespace, and of a whole place it is in or depends on. Written
by one thread, read by all: what others see is replaced as a whole.

Most of what is posted is state (so many replicas, this image) that is old news: it is kept apart, by what it is about,
so that asking costs by what there is to tell and not by what is known.
"""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

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

    @property
    def is_telling(self) -> bool:
        """Whether an agent should know it for as long as it holds."""
        return self.kind in TELLING or (self.kind in CHANGES and self.valid_until is not None)

    @property
    def is_change(self) -> bool:
        """Whether it is told while it is fresh: a change that does not say until when it goes on."""
        return self.kind in CHANGES and self.valid_until is None


Name = TypeVar("Name")
Index = dict[Name, tuple[Fact, ...]]


def _age(fact: Fact) -> tuple[int, str]:
    return fact.valid_from, fact.fact_id


class Facts:
    """What is posted, by place, and what depends on what."""

    def __init__(self) -> None:
        self._posted: dict[str, Fact] = {}
        self._telling: Index[str] = {}  # by place
        self._changes: Index[str] = {}  # by place
        self._alike: Index[tuple[str, str]] = {}  # of one kind about one resource
        self._depends_on: dict[str, frozenset[str]] = {}
        self._reached: dict[str, frozenset[str]] = {}  # answers of `dependencies`, until an edge comes or goes
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
            self._reached = {}
        else:
            for index, name in self._where(fact):
                kept = list(index.get(name, ()))
                insort(kept, fact, key=_age)  # the newest last
                index[name] = tuple(kept)

    def _drop(self, fact: Fact) -> None:
        if fact.kind == "dependency":
            left = self._depends_on[fact.resource] - {fact.value or ""}
            if left:
                self._depends_on[fact.resource] = left
            else:
                del self._depends_on[fact.resource]
            self._reached = {}
            return
        for index, name in self._where(fact):
            left_over = tuple(other for other in index[name] if other is not fact)
            if left_over:
                index[name] = left_over
            else:
                del index[name]

    def _where(self, fact: Fact) -> "list[tuple[Index[Any], Any]]":
        found: list[tuple[Index[Any], Any]] = [(self._alike, (fact.kind, fact.resource))]
        if fact.is_telling or fact.is_change:
            index = self._telling if fact.is_telling else self._changes
            found += [(index, place) for place in _places(fact.resource)]
        return found

    def _news(self, place: str, now: int) -> Iterator[Fact]:
        yield from self._telling.get(place, ())
        for change in reversed(self._changes.get(place, ())):
            if now - change.valid_from >= FRESH:
                return  # and so are all before it
            yield change

    def about(self, target: str, now: int) -> list[Fact]:
        """What an agent should know of this resource now, oldest first."""
        on = self.dependencies(target)
        own, whole = place_of(target), _whole_of(target)
        found: set[Fact] = set()
        for place in {own, whole, *(place_of(resource) for resource in on)}:
            for fact in self._news(place, now):
                if (
                    place == whole
                    or fact.resource in on
                    or (place == own and not self._only_depends(fact.resource, target))
                    or (place != own and kind_of(fact.resource) in (*WIDE, None))
                    or (kind_of(fact.resource) in OWNED and any(owns(resource, fact.resource) for resource in on))
                ) and self._holds(fact, now):
                    found.add(fact)
        return sorted(found, key=lambda fact: (fact.valid_from, fact.fact_id))

    def state(self, resource: str, kind: str, now: int) -> Fact | None:
        """The newest fact of this kind that holds for exactly this resource: its state, as far as it is known."""
        known = reversed(self._alike.get((kind, resource), ()))
        return next((fact for fact in known if self._holds(fact, now)), None)

    def dependencies(self, target: str) -> frozenset[str]:
        """What a resource depends on, at most two steps away, through what owns it too."""
        answers = (
            self._reached
        )  # the same one from here on: an answer of before a change goes with the others of before
        found = answers.get(target)
        if found is None:
            if len(answers) >= MOST_FACTS:
                answers.clear()
            found = answers[target] = self._walk(target)
        return found

    def _walk(self, target: str) -> frozenset[str]:
        found: set[str] = set()
        edge = {target, *self._owners(target)}
        for _ in range(MOST_HOPS):
            on = {other for one in edge for other in self._depends_on.get(one, ())}
            edge = on.union(*(self._owners(other) for other in on)) - found
            found |= edge
        return frozenset(found)

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
            _age(fact) < _age(other) and other.valid_from <= now
            for other in self._alike.get((fact.kind, fact.resource), ())
        )


def place_of(resource: str) -> str:
    """`prod-eu/checkout` of `prod-eu/checkout/deployment/cart`; what has no scope stands for its own."""
    return "/".join(resource.split("/")[:2])


@lru_cache(maxsize=MOST_FACTS)
def kind_of(resource: str) -> str | None:
    """`deployment` of `prod-eu/checkout/deployment/cart`."""
    parts = resource.split("/")
    return parts[2] if len(parts) >= 4 else None


def owns(owner: str, resource: str) -> bool:
    """Whether Kubernetes would have given `resource` its name because `owner` made it."""
    if kind_of(resource) not in OWNED or kind_of(owner) not in OWNERS or place_of(owner) != place_of(resource):
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
