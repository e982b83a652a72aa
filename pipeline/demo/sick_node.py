"""Not the agent: a node runs out of memory and takes two pods with it while an agent only reads.

`docs-agent` looks at the very namespace that suffers, before and during it. It writes nothing. What connects
the two pods with the node are the dependency events that were published at the start.
"""

from pipeline.demo.pods import labels, pod_starts, replica_set_pods
from pipeline.demo.readings import SICK_NODE
from pipeline.demo.recorder import Event, Recorder, Session, seconds_later
from pipeline.demo.timeline import DOCS_FROM, NODE_OOM_AT, NODE_WELL_AT, START
from schemas.resources import name_of
from schemas.times import MICROS

SCOPE = "prod-eu/docs"
OWNER = f"{SCOPE}/deployment/docs-api"
AGENT_ID = "docs-agent"
AGENT_VERSION = "3.0.2"
SESSION_ID = "docs-2026-03-02-1414"
IMAGE = "registry.acme.example/docs-api:1.12.0"
PODS = replica_set_pods("docs-api", 0, 5)
KILLED, EVICTED = PODS[0], PODS[1]
REPLACEMENTS = replica_set_pods("docs-api", 5, 2)

QUESTIONS = (
    ("docs.read", f"{SCOPE}/document/style-guide", "headings are sentences"),
    ("docs.read", f"{SCOPE}/document/api-reference", "34 endpoints, 3 without an example"),
    ("docs.search", f"{SCOPE}/index/search", "three pages mention the old endpoint"),
    ("docs.read", f"{SCOPE}/document/migration-guide", "the guide ends at version 4"),
    ("metrics.query", OWNER, "the search endpoint is the slowest, p95 85 ms"),
    ("docs.read", f"{SCOPE}/document/changelog", "version 5 renamed two fields"),
    ("docs.search", f"{SCOPE}/index/search", "eleven pages use the renamed fields"),
    ("docs.read", f"{SCOPE}/document/quick-start", "the quick start uses both of them"),
    ("kubernetes.get", OWNER, "5 of 5 replicas are ready"),
    ("docs.read", f"{SCOPE}/document/errors", "two error codes are not explained"),
    ("docs.read", f"{SCOPE}/document/webhooks", "one example has a wrong signature"),
    ("kubernetes.get", OWNER, "3 of 5 replicas are ready"),
    ("docs.read", f"{SCOPE}/document/limits", "the limits page is up to date"),
)


def topology(seed: int) -> list[Event]:
    """Which pod lives on which node, as a nightly inventory publishes it."""
    recorder = Recorder(seed, "docs topology")
    for number, pod in enumerate(PODS):
        recorder.cluster(
            START + 5 * MICROS + number * 100_000,
            resource=f"{SCOPE}/pod/{pod}",
            kind="dependency",
            reason="RunsOn",
            value=_node(pod),
            message=f"{pod} runs on {name_of(_node(pod))}",
        )
    return recorder.events


def node_fails(seed: int) -> list[Event]:
    """The node's warnings, the two pods that go down with it, and their replacements elsewhere."""
    recorder = Recorder(seed, "docs cluster")
    node = name_of(SICK_NODE)
    of_node = {"resource": SICK_NODE, "kind": "kubernetes", "actor_kind": "controller"}
    recorder.cluster(
        NODE_OOM_AT - 22 * MICROS,
        **of_node,
        reason="NodeHasInsufficientMemory",
        actor="kubelet",
        message=f"Node {node} status is now: NodeHasInsufficientMemory",
    )
    for count, after in enumerate((0, 24, 51), 1):
        recorder.cluster(
            NODE_OOM_AT + after * MICROS,
            **of_node,
            reason="SystemOOM",
            severity="warning",
            actor="kernel-monitor",
            count=count,
            message="System OOM encountered, victim process: fluent-bit, pid: 20817",
        )
    falls = (
        (
            KILLED,
            6,
            "OOMKilling",
            "kernel-monitor",
            "Memory cgroup out of memory: Killed process 31402 (docs-api)",
        ),
        (
            EVICTED,
            14,
            "Evicted",
            "kubelet",
            "The node was low on resource: memory. Threshold quantity: 100Mi",
        ),
    )
    for pod, after, reason, actor, message in falls:
        recorder.cluster(
            NODE_OOM_AT + after * MICROS,
            resource=f"{SCOPE}/pod/{pod}",
            kind="kubernetes",
            reason=reason,
            severity="warning",
            actor=actor,
            actor_kind="controller",
            message=message,
            labels=labels(OWNER, node),
        )
    for number, pod in enumerate(REPLACEMENTS):
        begins = NODE_OOM_AT + (75 + 8 * number) * MICROS
        pod_starts(recorder, begins, SCOPE, pod, OWNER, "node-5", IMAGE)
    recorder.cluster(
        NODE_WELL_AT,
        **of_node,
        reason="NodeHasSufficientMemory",
        actor="kubelet",
        message=f"Node {node} status is now: NodeHasSufficientMemory",
    )
    return recorder.events


def reading(seed: int) -> list[Event]:
    """The session of the agent that only reads."""
    recorder = Recorder(seed, AGENT_ID)
    rng = recorder.rng
    session = Session(
        recorder,
        agent_id=AGENT_ID,
        agent_version=AGENT_VERSION,
        session_id=SESSION_ID,
        started_at=DOCS_FROM,
        task_type="documentation_review",
        model="claude-sonnet-4-5",
        provider="anthropic",
        context_tokens=4_000,
        max_steps=40,
        requested_by="docs-team",
    )
    now = DOCS_FROM + 500_000
    session.chat(now, 4.0, output_tokens=190, says="I will review the pages one by one.")
    for number, (tool, target, found) in enumerate(QUESTIONS):
        now = seconds_later(now, rng.uniform(33, 38))
        session.tool(
            now,
            rng.uniform(0.3, 1.1),
            tool,
            {"target": target, "question": number + 1},
            target=target,
            result={"found": found},
            operation="retrieval" if tool.startswith("docs.") else "execute_tool",
        )
        now = seconds_later(now, 2.0)
        last = number == len(QUESTIONS) - 1
        session.chat(
            now,
            rng.uniform(4, 8),
            output_tokens=rng.randint(150, 400),
            says=found,
            grows_by=rng.randint(900, 2_600),
            finish_reason="stop" if last else "tool_calls",
        )
    session.close(seconds_later(now, 9.0), summary="Six pages need an edit; the list is in the ticket.")
    return recorder.events


def _node(pod: str) -> str:
    """The first two pods live on the sick node, the others on two healthy ones."""
    if pod in (KILLED, EVICTED):
        return SICK_NODE
    return f"prod-eu/cluster/node/node-{5 + PODS.index(pod) % 2}"
