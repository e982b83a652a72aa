"""What goes on besides and must give nothing: a good deploy, an agent that waits, an agent that turns pages.

Each looks a little like something that is wrong. The deploy has a pod whose first readiness probe fails once;
the waiting agent asks the same question again and again, but the answer moves and it stops when the job is
done; the agent that turns pages makes thirty calls that differ in one number, and every page is another.
"""

from pipeline.demo.pods import pod_starts, pod_warns, replica_set_pods
from pipeline.demo.recorder import Event, Recorder, Session, seconds_later
from pipeline.demo.timeline import PAYMENTS_DEPLOY_AT, START
from schemas.times import MICROS, MINUTE

PAYMENTS_SCOPE = "prod-eu/payments"
PAYMENTS = f"{PAYMENTS_SCOPE}/deployment/payments"
SUPPORT_SESSION = "support-2026-03-02-1405"
CRM_SESSION = "crm-2026-03-02-1416"
JOB = "helpdesk-eu/support/job/export-881"
PAGES = 30


def payments_deploy(seed: int) -> list[Event]:
    """A person's release of payments, rolled out pod by pod."""
    recorder = Recorder(seed, "payments deploy")
    recorder.cluster(
        PAYMENTS_DEPLOY_AT,
        resource=PAYMENTS,
        kind="deploy",
        reason="Deployed",
        actor="maria.keller",
        actor_kind="human",
        value="payments:2.18.0",
        previous_value="payments:2.17.4",
        source="deploy-pipeline",
        message="Release 2.18.0 of payments.",
    )
    new, old = replica_set_pods("payments", 4, 4), replica_set_pods("payments", 0, 4)
    for number, (pod, replaced) in enumerate(zip(new, old, strict=True)):
        node, begins = f"node-{number % 4 + 1}", PAYMENTS_DEPLOY_AT + (3 + 18 * number) * MICROS
        pod_starts(recorder, begins, PAYMENTS_SCOPE, pod, PAYMENTS, node, "registry.acme.example/payments:2.18.0")
        if number == 1:
            probe = "Readiness probe failed: connection refused"
            pod_warns(recorder, begins + 4 * MICROS, PAYMENTS_SCOPE, pod, PAYMENTS, node, "Unhealthy", probe)
        recorder.cluster(
            begins + 12 * MICROS,
            resource=f"{PAYMENTS_SCOPE}/pod/{replaced}",
            kind="kubernetes",
            reason="Killing",
            actor="kubelet",
            actor_kind="controller",
            message="Stopping container main",
        )
    return recorder.events


def waiting_agent(seed: int) -> list[Event]:
    """Asks for the state of a job every twenty seconds until it is done, then answers the ticket."""
    recorder = Recorder(seed, "support-agent")
    rng = recorder.rng
    begin = START + 5 * MINUTE
    session = Session(
        recorder,
        agent_id="support-agent",
        agent_version="3.2.0",
        session_id=SUPPORT_SESSION,
        started_at=begin,
        task_type="ticket",
        model="gpt-4.1-mini",
        provider="openai",
        context_tokens=2_100,
        max_steps=60,
        requested_by="ticket-20417",
    )
    now = begin + 200_000
    session.chat(now, 2.2, output_tokens=70, says="The customer waits for an export. I will start it.")
    now = seconds_later(now, 2.4)
    session.tool(
        now,
        0.8,
        "job.start",
        {"job": "export-881"},
        target=JOB,
        result={"state": "queued"},
        access="write",
        approval="granted",
        summary="The customer asked for the export of their own tickets.",
    )
    progress = 0
    while progress < 100:
        now = seconds_later(now, rng.uniform(18, 22))
        progress = min(100, progress + rng.randint(5, 9))
        session.chat(now, 1.4, output_tokens=28, says=f"Waiting, {progress} % when I look next.", grows_by=60)
        now = seconds_later(now, 1.6)
        state = {"state": "done" if progress == 100 else "running", "percent": progress}
        session.tool(now, 0.3, "job.status", {"job": "export-881"}, target=JOB, result=state)
    now = seconds_later(now, 1.0)
    session.chat(now, 2.0, output_tokens=120, says="The export is ready, I will send the link.", grows_by=80)
    session.tool(
        seconds_later(now, 2.2),
        0.6,
        "ticket.reply",
        {"ticket": 20417, "template": "export-ready"},
        target="helpdesk-eu/support/ticket/20417",
        result={"sent": True},
        access="write",
        approval="not_required",
    )
    session.close(seconds_later(now, 4.0), summary="The export was sent.")
    return recorder.events


def paging_agent(seed: int) -> list[Event]:
    """Reads thirty pages of one list, a model call after every fifth."""
    recorder = Recorder(seed, "crm-agent")
    rng = recorder.rng
    begin = START + 16 * MINUTE
    session = Session(
        recorder,
        agent_id="crm-agent",
        agent_version="0.9.3",
        session_id=CRM_SESSION,
        started_at=begin,
        task_type="customer_report",
        model="claude-haiku-4-5",
        provider="anthropic",
        context_tokens=1_800,
        max_steps=30,
        requested_by="sales-weekly",
    )
    now = begin + 200_000
    session.chat(now, 1.9, output_tokens=60, says="I will read all customers, fifty a page.")
    now = seconds_later(now, 1.0)
    for page in range(1, PAGES + 1):
        now = seconds_later(now, rng.uniform(2.5, 4.0))
        session.tool(
            now,
            rng.uniform(0.2, 0.6),
            "crm.list",
            {"list": "customers", "per_page": 50, "page": page},
            target="crm-eu/sales/list/customers",
            result={"page": page, "first": (page - 1) * 50 + 1},
        )
        if page % 5 == 0:
            now = seconds_later(now, 1.0)
            session.chat(now, 2.1, output_tokens=90, says=f"{page * 50} customers read.", grows_by=3_900)
    now = seconds_later(now, 5.0)
    session.chat(now, 6.0, output_tokens=900, says="The report is written.", grows_by=200, finish_reason="stop")
    session.close(seconds_later(now, 6.5), summary="1 500 customers, by region and size.")
    return recorder.events
