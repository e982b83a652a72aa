"""Rules that act, beside those that tell: an incident's revision in, controls to agent.controls.v1.

Asked only for revisions that a rule with an action matches, which are few: the controls are then read from the topic's
start, so that what a person has said since is known, and nothing has to be remembered over a restart.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from alerts.controls import decide
from alerts.rules.model import Rule
from pipeline.kafka_connection import KafkaConnection
from pipeline.stages.control_log import known_controls
from pipeline.stages.publish import Outgoing
from schemas.codecs.single import encode
from schemas.incidents import Incident
from schemas.topics import CONTROLS

log = logging.getLogger(__name__)


class Acting:
    """The rules of one worker that act."""

    def __init__(self, connection: KafkaConnection, rules: Sequence[Rule]) -> None:
        self._connection = connection
        self._rules = [rule for rule in rules if rule.action is not None]
        self._turn = asyncio.Lock()  # a control must be in the topic before the next is decided

    def is_asked(self, incident: Incident) -> bool:
        """Whether a rule may have something to do about this revision."""
        return incident.status == "open" and any(rule.matches(incident) for rule in self._rules)

    async def act(self, incident: Incident, publish: Callable[[Sequence[Outgoing]], Awaitable[None]]) -> None:
        """Give the controls this revision leads to; returns when Kafka has them."""
        async with self._turn:
            known = await asyncio.to_thread(known_controls, self._connection)
            controls = decide(self._rules, incident, {control.key: control for control in known})
            for control in controls:
                log.warning("%s: %s of %s is paused by %s", control.mode, control.about, control.tenant, control.author)
            records = [
                Outgoing(CONTROLS.name, encode("control", control.as_record()), control.key.encode())
                for control in controls
            ]
            await publish(records)
