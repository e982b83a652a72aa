"""The route tree: an alert's labels in, the routes that take it out.

As in Alertmanager: the root takes everything; of a route's children, in order, the first that takes the alert ends the
search, unless it says `continue`; a route whose children do not take it takes it itself. What a route does not say it
has from its parent: the receiver, grouping and intervals; not matchers, `continue` and times.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from alerts.routing.matchers import Labels, Matcher, all_match

NO_GROUPING = "..."  # by all labels: each alert is a group of its own


@dataclass(frozen=True, slots=True)
class Route:
    """One node with everything it has from its parents. Times in microseconds."""

    place: str  # the way from the root, by number: 0/2/1
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False  # `continue`
    group_by: tuple[str, ...] = ()
    group_wait: int = 30_000_000
    group_interval: int = 300_000_000
    repeat_interval: int = 4 * 3_600_000_000
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    routes: tuple["Route", ...] = ()

    def matching(self, labels: Labels) -> list["Route"]:
        """The routes that take this alert, in order; never empty for the root, whose matchers are none."""
        if not all_match(self.matchers, labels):
            return []
        found: list[Route] = []
        for child in self.routes:
            taken = child.matching(labels)
            found += taken
            if taken and not child.goes_on:
                break
        return found or [self]

    def group_of(self, labels: Labels) -> tuple[tuple[str, str], ...]:
        """The labels that this route groups by, of this alert."""
        names = sorted(labels) if NO_GROUPING in self.group_by else sorted(self.group_by)
        return tuple((name, labels[name]) for name in names if name in labels)

    def walk(self) -> Iterator["Route"]:
        """This route and all below."""
        yield self
        for child in self.routes:
            yield from child.walk()
