"""Asks the questions of query rules, each in its interval; tells of rows that are new, and of those that are gone.

Beside the stage: a ClickHouse that is down or slow holds no page back, and changes nothing; the alerts that are open
stay open until a question is answered again. One worker asks: the one that reads partition 0.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from alerts.outbox import Notification
from alerts.rules.model import Rule
from alerts.rules.queries import Asked, Query
from schemas.errors import AftermathError
from schemas.incidents import Incident
from schemas.times import MICROS

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
Ask = Callable[[str, float], list[dict[str, Any]]]  # SQL and seconds; blocks; raises AftermathError
UNDER_WAY = ("pending", "held", "failed", "sent")


class Asking:
    """`tell` takes a revision; `is_mine` says whether this worker asks."""

    def __init__(
        self,
        ask: Ask,
        now: Callable[[], int],
        tell: Callable[[Incident], Awaitable[None]],
        is_mine: Callable[[], bool],
    ) -> None:
        self._ask, self._now, self._tell, self._is_mine = ask, now, tell, is_mine
        self._asked: dict[str, tuple[Query, Asked]] = {}
        self._due: dict[str, int] = {}
        self._silent: set[str] = set()

    def use(self, rules: Iterable[Rule], records: Sequence[Notification]) -> None:
        """The questions of these rules; `records` is what the outbox remembers: rows that are open already."""
        self._asked = {rule.id: (rule.query, Asked(rule, rule.query)) for rule in rules if rule.query is not None}
        over = {(one.rule, one.incident_id) for one in records if one.transition == "resolved" and one.state == "sent"}
        for record in records:
            known = self._asked.get(record.rule)
            is_open = record.transition == "firing" and record.state in UNDER_WAY
            if known is not None and is_open and (record.rule, record.incident_id) not in over:
                known[1].restore(record)
        self._due = {name: self._due.get(name, 0) for name in self._asked}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for name, (query, asked) in list(self._asked.items()):
                now = self._now()
                if self._is_mine() and self._due.get(name, 0) <= now:
                    self._due[name] = now + query.every
                    await self._ask_one(name, query, asked)

    async def _ask_one(self, name: str, query: Query, asked: Asked) -> None:
        try:
            rows = await asyncio.to_thread(self._ask, query.sql, query.time_limit / MICROS)
            revisions = asked.answered(rows, self._now())
        except (AftermathError, ValueError) as error:
            if name not in self._silent:  # once, not every few minutes
                log.error("query rule %s has no answer; what is open stays open: %s", name, error)
            self._silent.add(name)
            return
        self._silent.discard(name)
        for revision in revisions:
            await self._tell(revision)
