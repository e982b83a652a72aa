"""How two resources of a tenant are related: the same object, an owner chain, a dependency, a scope.

Learned from `dependency` events (`resource` depends on `value`), from the node a pod says it runs on, and from names:
`cart-6996dd565b-mddj2` is a pod of deployment `cart`, `cart-db-0` one of statefulset `cart-db`.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from schemas.resources import cluster_of, kind_of, name_of, scope_of

OWNERS = ("deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob", "service")
OWNED = ("pod", "replicaset")
MOST_HOPS = 2
MOST_EDGES = 20_000  # per tenant; beyond that new ones are not learned


class Relation(StrEnum):
    """How a cause is related to an effect, nearest first."""

    SAME = "same_object"
    OWNER = "owner_chain"
    DEPENDENCY = "dependency"  # the effect depends on the cause
    DEPENDENT = "dependent"  # the cause depends on the effect: load reaches it
    SCOPE = "same_scope"
    CLUSTER = "same_cluster"
    NONE = "unrelated"


@dataclass(frozen=True, slots=True)
class Path:
    """A relation and its length in steps (0: same object or owner chain)."""

    relation: Relation
    hops: int


@dataclass(slots=True)
class Topology:
    """What is known of one tenant's resources."""

    depends_on: dict[str, set[str]] = field(default_factory=dict)
    used_by: dict[str, set[str]] = field(default_factory=dict)
    owners: dict[str, set[str]] = field(default_factory=dict)  # scope -> resources that may own others
    edges: int = 0

    def see(self, resource: str | None) -> None:
        """Remember a resource that may own others."""
        if resource and kind_of(resource) in OWNERS:
            self.owners.setdefault(scope_of(resource) or "", set()).add(resource)

    def add_dependency(self, resource: str, on: str) -> None:
        """`resource` depends on `on`."""
        self.see(resource)
        self.see(on)
        if on not in self.depends_on.get(resource, ()) and self.edges < MOST_EDGES:
            self.depends_on.setdefault(resource, set()).add(on)
            self.used_by.setdefault(on, set()).add(resource)
            self.edges += 1

    def family(self, resource: str) -> str:
        """The resource that owns this one, as far as is known; else itself."""
        if kind_of(resource) == "node":
            return node_key(resource, name_of(resource))
        if kind_of(resource) not in OWNED:
            return resource
        owners = [owner for owner in self.owners.get(scope_of(resource) or "", ()) if owns(owner, resource)]
        best = [owner for owner in owners if kind_of(owner) != "replicaset"] or owners
        return max(best, key=lambda owner: (len(owner), owner), default=resource)

    def path(self, cause: str, effect: str) -> Path:
        """How `cause` reaches `effect`."""
        if cause == effect:
            return Path(Relation.SAME, 0)
        if owns(cause, effect) or owns(effect, cause) or self.family(cause) == self.family(effect):
            return Path(Relation.OWNER, 0)
        hops = self._hops(effect, cause, self.depends_on)
        if hops:
            return Path(Relation.DEPENDENCY, hops)
        hops = self._hops(cause, effect, self.depends_on)
        if hops:
            return Path(Relation.DEPENDENT, hops)
        if scope_of(cause) is not None and scope_of(cause) == scope_of(effect):
            return Path(Relation.SCOPE, 1)
        if cluster_of(cause) == cluster_of(effect):
            return Path(Relation.CLUSTER, 3)
        return Path(Relation.NONE, 9)

    def dependencies(self, resource: str) -> set[str]:
        """What this resource depends on, at most two steps away."""
        return self._reached(resource, self.depends_on)

    def dependents(self, resource: str) -> set[str]:
        """What depends on this resource, at most two steps away."""
        return self._reached(resource, self.used_by)

    def _reached(self, resource: str, edges: dict[str, set[str]]) -> set[str]:
        found: set[str] = set()
        edge = {resource, self.family(resource)}
        for _ in range(MOST_HOPS):
            on = {other for one in edge for other in edges.get(one, ())}
            edge = (on | {self.family(other) for other in on}) - found
            found |= edge
        return found

    def _hops(self, start: str, end: str, edges: dict[str, set[str]]) -> int:
        """Steps along `edges` from `start` to `end`, at most two; 0 where there is no such path."""
        goal = {end, self.family(end)}
        seen = {start, self.family(start)}
        queue = deque((node, 0) for node in sorted(seen))
        while queue:
            node, hops = queue.popleft()
            if hops == MOST_HOPS:
                continue
            for following in sorted(edges.get(node, ())):
                if following in goal or self.family(following) in goal:
                    return hops + 1
                for known in (following, self.family(following)):
                    if known not in seen:
                        seen.add(known)
                        queue.append((known, hops + 1))
        return 0


def node_key(resource: str, node: str) -> str:
    """One name for a node of the cluster of `resource`, whatever namespace its events give it."""
    return f"{cluster_of(resource)}/-/node/{node}"


@lru_cache(maxsize=65_536)
def owns(owner: str, resource: str) -> bool:
    """Whether Kubernetes would have given `resource` its name because `owner` made it."""
    if kind_of(owner) not in OWNERS or kind_of(resource) not in OWNED or scope_of(owner) != scope_of(resource):
        return False
    prefix = name_of(owner) + "-"
    name = name_of(resource)
    if not name.startswith(prefix):
        return False
    parts = name[len(prefix) :].split("-")
    if kind_of(owner) == "statefulset":
        return len(parts) == 1 and parts[0].isdigit()
    # a generated part is five characters or more, or a number: `db` of `cart-db-0` is a name, so `cart` does not own it
    return len(parts) <= 2 and all(len(part) >= 5 or part.isdigit() for part in parts)
