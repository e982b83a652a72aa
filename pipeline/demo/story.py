"""The story the demo plays: half an hour of one tenant, the same bytes for the same seed.

Three things go wrong on one timeline, and some things go on besides. Nothing here says what is to be found:
that stands in `expected.json`, and everything in it is to be computed from these events.

The variants are for tests. They add or leave out events and change no other: without the agent's write
nothing of an agent explains the failure; with a person's deploy at the same moment two explanations are
equally good.
"""

from pipeline.demo.background import paging_agent, payments_deploy, waiting_agent
from pipeline.demo.looping import looping
from pipeline.demo.partly_informed import cluster_reacts, deploy_at_once, facts, investigation, is_the_action
from pipeline.demo.readings import readings
from pipeline.demo.recorder import Event, in_ingest_order
from pipeline.demo.sick_node import node_fails, reading, topology

SEED = 7

PARTS = (
    facts,
    topology,
    readings,
    investigation,
    cluster_reacts,
    looping,
    node_fails,
    reading,
    payments_deploy,
    waiting_agent,
    paging_agent,
)


def story(seed: int = SEED, *, without_action: bool = False, equal_deploy: bool = False) -> list[Event]:
    """Every event of the story as a JSON-able object (`type`, fields, `ingest_time`), in ingest order.

    Times are microseconds UTC; absent optional fields are left out. `without_action` leaves out the one write
    of `capacity-agent`; `equal_deploy` adds a person's deploy of the same resource at the moment of that
    write.
    """
    events = [event for part in PARTS for event in part(seed)]
    if without_action:
        events = [event for event in events if not is_the_action(event)]
    if equal_deploy:
        events += deploy_at_once(seed)
    return in_ingest_order(events)
