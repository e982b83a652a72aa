"""Rules that act, beside those that tell: an incident's revision in, controls to agent.controls.v1.

Asked only for revisions that a rule with an action matches, which are few: the controls are then read from the topic's
start, so that what a person has said since is known, and nothing has to be remembered over a restart.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from alerts.controls import decide
from alerts.rules.model import Rule, in_force
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
        self.use(rules)
        self._turn = asyncio.Lock()  # a control must be in the topic before the next is decided

    def use(self, rules: Sequence[Rule]) -> None:
        """Go by these rules from now on."""
        self._rules = tuple(rules)

    def _that_act(self, incident: Incident) -> list[Rule]:
        return [rule for rule in in_force(self._rules, incident.updated_at) if rule.action is not None]

    def is_asked(self, incident: Incident) -> bool:
        """Whether a rule may have something to do about this revision."""
        return incident.status == "open" and any(rule.matches(incident) for rule in self._that_act(incident))

    async def act(self, incident: Incident, publish: Callable[[Sequence[Outgoing]], Awaitable[None]]) -> None:
        """Give the controls this revision leads to; returns when Kafka has them."""
        async with self._turn:
            known = await asyncio.to_thread(known_controls, self._connection)
            controls = decide(self._that_act(incident), incident, {control.key: control for control in known})
            for control in controls:
                says = "%s: %s of %s is paused by %s"
                ids = {"control": control.key, "incident_id": incident.incident_id}
                log.warning(says, control.mode, control.about, control.tenant, control.author, extra=ids)
            records = [
                Outgoing(CONTROLS.name, encode("control", control.as_record()), control.key.encode())
                for control in controls
            ]
            await publish(records)
