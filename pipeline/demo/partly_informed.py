"""A partly informed change: an agent that read much, and not the two things that mattered.

`capacity-agent` reads twelve documents and the metrics of `prod-eu/checkout`. It asks neither the change
calendar (a maintenance window on the database) nor the flag service (an experiment by which each pod of
`cart` opens its prefetch pool three minutes after its start). It asks for approval, does not wait for it, and
scales `cart` from 6 to 24 pods. Three minutes later the database has no connections left.
"""

from pipeline.demo.pods import labels, pod_starts, pod_warns, replica_set_pods
from pipeline.demo.readings import CART, CART_DB, MAX_CONNECTIONS
from pipeline.demo.recorder import Event, Recorder, Session, seconds_later
from pipeline.demo.timeline import CAPACITY_FROM, FAILURE_AT, RECOVERED_AT, ROLLBACK_AT, SCALE_AT, START
from schemas.times import MICROS, MINUTE

SCOPE = "prod-eu/checkout"
AGENT_ID = "capacity-agent"
AGENT_VERSION = "2.4.1"
SESSION_ID = "capacity-2026-03-02-1402"
MAINTENANCE_ID = "mw-311"
FLAG_ID = "flag-cart-prefetch"
FLAG = f"{SCOPE}/flag/cart-prefetch"
IMAGE = "registry.acme.example/cart:5.3.2"
OLD_PODS = replica_set_pods("cart", 0, 6)
NEW_PODS = replica_set_pods("cart", 6, 18)
DB_PODS = ("cart-db-0", "cart-db-1")
CRASHING = (*NEW_PODS[:5], OLD_PODS[0])

# name, tokens it adds to the context, what the agent takes from it
DOCUMENTS = (
    ("architecture-overview", 4_100, "cart is stateless, cart-db is one primary with one replica"),
    ("cart-service-runbook", 3_600, "scale out when p95 stays above 110 ms in the evening"),
    ("cart-db-sizing", 2_900, f"cart-db accepts {MAX_CONNECTIONS} connections"),
    ("scaling-profile-2025", 2_400, "a pod of cart holds about 20 connections when warm"),
    ("capacity-plan-q1", 3_300, "24 pods are the planned ceiling for the spring sale"),
    ("spring-sale-brief", 1_900, "the sale opens at 16:00, traffic is expected to triple"),
    ("load-test-january", 2_700, "24 pods held 1 600 requests a second in January"),
    ("postmortem-2025-11", 3_800, "last November cart was scaled too late"),
    ("autoscaler-settings", 1_500, "the autoscaler is off for cart until April"),
    ("connection-pooling", 2_200, "the pool is shared by read and write paths"),
    ("node-pool-prod-eu", 1_700, "the node pool has room for 40 more pods"),
    ("slo-checkout", 1_400, "p95 below 250 ms, availability above 99.9 %"),
)


def facts(seed: int) -> list[Event]:
    """What held, and where an agent would have had to ask. Both could be read well before the agent began."""
    recorder = Recorder(seed, "checkout facts")
    recorder.cluster(
        START + 2 * MICROS,
        event_id=MAINTENANCE_ID,
        published_time=START - 5 * 60 * MINUTE,
        resource=CART_DB,
        kind="maintenance",
        reason="ReplicaRebuild",
        actor="dba-oncall",
        actor_kind="human",
        valid_from=START - 30 * MINUTE,
        valid_until=START + 90 * MINUTE,
        source="change-calendar",
        message="cart-db-1 is rebuilt; half of the connections are reserved for the copy. Do not add load.",
    )
    recorder.cluster(
        START + 3 * MICROS,
        event_id=FLAG_ID,
        published_time=START - 47 * MINUTE,
        resource=FLAG,
        kind="flag",
        reason="FlagChanged",
        actor="growth-team",
        actor_kind="human",
        valid_from=START - 47 * MINUTE,
        value="experimental-on",
        previous_value="off",
        source="flag-service",
        message="Each pod of cart opens a prefetch pool of 40 connections three minutes after its start.",
    )
    recorder.cluster(START + 4 * MICROS, resource=CART, kind="dependency", reason="DependsOn", value=CART_DB)
    return recorder.events


def investigation(seed: int) -> list[Event]:
    """The session of the agent, its one write included."""
    recorder = Recorder(seed, AGENT_ID)
    rng = recorder.rng
    session = Session(
        recorder,
        agent_id=AGENT_ID,
        agent_version=AGENT_VERSION,
        session_id=SESSION_ID,
        started_at=CAPACITY_FROM,
        task_type="capacity_planning",
        model="claude-sonnet-4-5",
        provider="anthropic",
        context_tokens=5_200,
        max_steps=40,
        requested_by="sale-readiness-schedule",
    )
    now = CAPACITY_FROM + 400_000
    session.chat(now, 4.2, output_tokens=212, says="I will read the documents of checkout, then its metrics.")
    grown = 0
    for number, (name, tokens, learned) in enumerate(DOCUMENTS, 1):
        now = seconds_later(now, rng.uniform(15, 17))
        session.tool(
            now,
            rng.uniform(0.3, 1.4),
            "docs.read",
            {"document": name},
            target=f"{SCOPE}/document/{name}",
            result={"document": name, "revision": number * 7},
            operation="retrieval",
        )
        grown += tokens
        if number % 2 == 0:
            now = seconds_later(now, 2.0)
            session.chat(now, rng.uniform(4, 7), output_tokens=rng.randint(140, 320), says=learned, grows_by=grown)
            grown = 0
    for resource, metric, found in (
        (CART, "http.latency_p95_ms", "p95 of cart is 121 ms and rises towards the evening"),
        (CART, "http.requests_per_second", "412 requests a second on 6 pods"),
        (CART_DB, "db.connections", f"182 of {MAX_CONNECTIONS} connections in use"),
        (CART_DB, "db.cpu_percent", "the database is at a third of its CPU"),
    ):
        now = seconds_later(now, rng.uniform(15, 17))
        session.tool(
            now,
            rng.uniform(0.5, 1.2),
            "metrics.query",
            {"metric": metric, "resource": resource, "minutes": 60},
            target=resource,
            result={"metric": metric, "finding": found},
        )
        now = seconds_later(now, 2.0)
        session.chat(now, rng.uniform(4, 7), output_tokens=rng.randint(120, 260), says=found, grows_by=900)
    belief = (
        "p95 of cart rises towards the sale; 24 pods at 20 connections each fit into the 500 of cart-db; "
        "no document mentions a change in progress. Scaling out now is safe."
    )
    session.chat(SCALE_AT - 9 * MICROS, 7.5, output_tokens=640, says=belief, grows_by=600)
    session.tool(
        SCALE_AT,
        1.8,
        "kubernetes.scale",
        {"namespace": "checkout", "deployment": "cart", "replicas": 24},
        target=CART,
        result={"scaled": True, "replicas": 24},
        access="write",
        approval="requested",
        summary=belief,
        expects={"replicas": 6},
    )
    session.chat(
        SCALE_AT + 20 * MICROS,
        4.4,
        output_tokens=180,
        says="The roll-out has begun, all new pods are being created. The task is done.",
        grows_by=400,
        finish_reason="stop",
    )
    session.close(SCALE_AT + 25 * MICROS, summary="Scaled cart from 6 to 24 ahead of the sale.")
    return recorder.events


def is_the_action(event: Event) -> bool:
    """The one write of the agent."""
    return event.get("session_id") == SESSION_ID and event.get("access") == "write"


def cluster_reacts(seed: int) -> list[Event]:
    """The roll-out, the crash loops that follow the lack of connections, the way back."""
    recorder = Recorder(seed, "checkout cluster")
    _scaled(recorder, SCALE_AT + 2_100_000, 24, 6)
    for number, pod in enumerate(NEW_PODS):
        begins = seconds_later(SCALE_AT, 3.0 + number * 0.7)
        pod_starts(recorder, begins, SCOPE, pod, CART, _node(number), IMAGE)
    refused = "FATAL: sorry, too many clients already"
    for number, pod in enumerate((*CRASHING, *DB_PODS)):
        owner = CART_DB if pod in DB_PODS else CART
        first = seconds_later(FAILURE_AT, 35 + number * 4.3)
        probe = f"Readiness probe failed: {refused}"
        pod_warns(recorder, first, SCOPE, pod, owner, _node(number), "Unhealthy", probe)
        pod_warns(recorder, seconds_later(first, 12), SCOPE, pod, owner, _node(number), "Unhealthy", probe, 2)
        moment, count = seconds_later(first, 22), 1
        while moment < ROLLBACK_AT - 5 * MICROS:
            reason = "CrashLoopBackOff" if count % 4 == 0 else "BackOff"
            waits = "Back-off restarting failed container main"
            pod_warns(recorder, moment, SCOPE, pod, owner, _node(number), reason, waits, count)
            moment = seconds_later(moment, 18 + recorder.rng.uniform(0, 9))
            count += 1
    recorder.cluster(
        ROLLBACK_AT,
        resource=CART,
        kind="scale",
        reason="ScaledByHand",
        actor="oncall-checkout",
        actor_kind="human",
        value="6",
        previous_value="24",
        message="Back to 6 while cart-db is out of connections.",
    )
    _scaled(recorder, ROLLBACK_AT + 1_400_000, 6, 24)
    # only the pods that stay start again
    for number, pod in enumerate((OLD_PODS[0], *DB_PODS)):
        recorder.cluster(
            seconds_later(RECOVERED_AT, 1.5 + number * 2.0),
            resource=f"{SCOPE}/pod/{pod}",
            kind="kubernetes",
            reason="Started",
            actor="kubelet",
            actor_kind="controller",
            message="Started container main",
            labels=labels(CART_DB if pod in DB_PODS else CART, _node(number)),
        )
    return recorder.events


def deploy_at_once(seed: int) -> list[Event]:
    """A variant: at the very moment of the agent's write a person deploys the same thing."""
    recorder = Recorder(seed, "equal deploy")
    recorder.cluster(
        SCALE_AT,
        resource=CART,
        kind="deploy",
        reason="Deployed",
        actor="jan.verhoeven",
        actor_kind="human",
        value="cart:5.4.0",
        previous_value="cart:5.3.2",
        source="deploy-pipeline",
        message="Release 5.4.0 of cart.",
    )
    return recorder.events


def _scaled(recorder: Recorder, moment: int, replicas: int, before: int) -> None:
    direction = "up" if replicas > before else "down"
    recorder.cluster(
        moment,
        resource=CART,
        kind="scale",
        reason="ScalingReplicaSet",
        actor="deployment-controller",
        actor_kind="controller",
        value=str(replicas),
        previous_value=str(before),
        message=f"Scaled {direction} replica set {NEW_PODS[0].rsplit('-', 1)[0]} to {replicas} from {before}",
    )


def _node(number: int) -> str:
    """Pods of checkout live on the first four nodes: the sick one has none of them."""
    return f"node-{number % 4 + 1}"
