"""Limits that are broken: steps, tools, targets, calls, approvals, reconnaissance, freezes; and a version that is worse.

Names of limits are those that limits.yml has or is to have. `CAREFUL` is what the operators of a cluster ask of every
change; a healthy change under the same limits stands in healthy.py.
"""

from typing import Any

from schemas.times import MICROS, MINUTE
from tests.corpus.names import OPERATIONS, arguments, hexadecimal, resource, word
from tests.corpus.telling import Run, Scene

CAREFUL: dict[str, Any] = {
    "needs_approval": True,
    "needs_read_first": True,
    "needs_summary": True,
    "needs_canary": True,
}


def operator(scene: Scene, **limits: Any) -> Run:
    """A run on a cluster whose changes are limited so."""
    scene.box = OPERATIONS
    if limits:
        scene.limit(**limits)
    run = Run(scene)
    for _ in range(scene.rng.randint(4, 12)):
        run.read()
    return run


def goes_on(run: Run) -> None:
    """A few more looks, so that the change is not the last thing that is known."""
    for _ in range(run.rng.randint(3, 8)):
        run.read()


def _writes(run: Run, target: str, **fields: Any) -> None:
    run.think()
    tool = run.rng.choice(run.scene.box.writes)
    run.scene.begins(run.now)
    run.call(tool, arguments(run.rng, tool, target), **fields)


def step_limit(scene: Scene, _: int) -> None:
    """The run goes on beyond the steps it was given."""
    most = scene.rng.randint(15, 30)
    run = Run(scene, max_steps=most)
    while run.step < most:
        run.read()
    scene.begins(run.now)
    run.work(scene.rng.randint(3, 12))


def tool_not_allowed(scene: Scene, _: int) -> None:
    """A tool that is not on the agent's list."""
    run = Run(scene)
    allowed = [tool.name for tool in scene.box.reads]
    scene.limit({"agent_id": run.agent}, allowed_tools=allowed)
    for _ in range(scene.rng.randint(5, 12)):
        run.read()
    _writes(run, scene.subject(), summary="needed to go on")
    goes_on(run)


def target_not_allowed(scene: Scene, _: int) -> None:
    """A change outside the place the agent may change."""
    run = operator(scene)
    scene.limit({"agent_id": run.agent}, allowed_targets=["staging-*/*"])
    target = resource(scene.rng)
    run.read(target)
    _writes(run, target, summary="staging and production are out of step")
    goes_on(run)


def calls_of_run(scene: Scene, _: int) -> None:
    """More calls in a run than it may have."""
    run = Run(scene)
    most = scene.rng.randint(40, 80)
    scene.limit({"agent_id": run.agent}, calls_per_session=most)
    calls = 0
    while calls < most * 1.3:
        run.read()
        calls += 2
        if calls >= most:
            scene.begins(run.now)


def without_approval(scene: Scene, seed: int) -> None:
    """A change that needs an approval, and was made without: not asked for, or asked for and not waited for."""
    run = operator(scene, needs_approval=True)
    target = resource(scene.rng)
    run.read(target)
    scene.variant = "requested" if seed % 2 else "not requested"
    _writes(run, target, approval="requested" if seed % 2 else None, summary="the load is rising")
    goes_on(run)


def denied(scene: Scene, _: int) -> None:
    """A change that ran although it was denied."""
    run = operator(scene)
    target = resource(scene.rng)
    run.read(target)
    _writes(run, target, approval="denied", approved_by=word(scene.rng), summary="the load is rising")
    goes_on(run)


def blind_write(scene: Scene, _: int) -> None:
    """A change of something that was not looked at in this session."""
    run = operator(scene, needs_read_first=True)
    _writes(run, resource(scene.rng), summary="as it was the last time")
    goes_on(run)


def without_summary(scene: Scene, _: int) -> None:
    """A change of a cluster that says nothing of why."""
    run = operator(scene, needs_summary=True)
    target = resource(scene.rng)
    run.read(target)
    _writes(run, target)
    goes_on(run)


def stale_decision(scene: Scene, _: int) -> None:
    """Someone changes the target between the look and the change, which goes by what was seen."""
    run = operator(scene)
    target = resource(scene.rng)
    run.read(target)
    seen = scene.rng.randint(2, 9)
    for _ in range(scene.rng.randint(2, 5)):
        run.read()
    changed = {"value": str(seen * 2), "previous_value": str(seen), "actor": "on-call", "actor_kind": "human"}
    scene.cluster(run.now, "scale", target, reason="ScalingReplicaSet", **changed)
    run.rest(scene.rng.uniform(15, 60))
    _writes(run, target, expects=f'{{"replicas":{seen}}}', summary=f"{seen} replicas are too few")
    goes_on(run)


def all_at_once(scene: Scene, _: int) -> None:
    """A roll-out to everything in the first step, where a canary is asked for."""
    run = operator(scene, needs_canary=True)
    target = resource(scene.rng)
    run.read(target)
    run.think()
    scene.begins(run.now)
    write = scene.rng.choice(scene.box.writes)
    run.call(write, {"name": target, "percent": 100, "version": hexadecimal(scene.rng, 8)}, summary="version is ready")
    goes_on(run)


def permission_change(scene: Scene, _: int) -> None:
    """An agent gives itself or others more rights."""
    run = operator(scene)
    role = resource(scene.rng, scene.rng.choice(("rolebinding", "clusterrolebinding", "role")))
    run.read(role)
    _writes(run, role, access="provision", summary="the call was refused for a missing right")
    event = {"actor": run.agent, "actor_kind": "agent", "session_id": run.session, "reason": "PermissionChanged"}
    scene.cluster(run.now, "audit", role, **event)
    goes_on(run)


def during_freeze(scene: Scene, seed: int) -> None:
    """A change during a freeze or a maintenance window that was published long before."""
    run = operator(scene)
    target = resource(scene.rng)
    cluster, namespace, *_ = target.split("/")
    kind = "maintenance" if seed % 2 else "freeze"
    scene.variant = kind
    over = target if seed % 2 else f"{cluster}/{namespace}/namespace/{namespace}"
    window = {"valid_from": run.began + MINUTE, "valid_until": run.now + 120 * MINUTE, "source": "calendar"}
    scene.cluster(run.began + MICROS, kind, over, actor="on-call", actor_kind="human", **window)
    run.rest(90)
    run.read(target)
    _writes(run, target, summary="the load is rising")
    goes_on(run)


def worse_version(scene: Scene, seed: int) -> None:
    """A new version runs beside the old one, and needs more steps and tokens, fails more often, or both."""
    agent = scene.agent()
    scene.variant = ("steps", "errors", "both", "steps", "errors")[seed % 5]
    steps = 6 if scene.variant == "errors" else 16
    failures = 0.04 if scene.variant == "steps" else 0.4
    roll_out(scene, agent, steps, failures, scene.begins)


def roll_out(scene: Scene, agent: str, steps: int, failures: float, begins: Any = None) -> None:
    """Thirty runs of one version; then, one in two, those of the next with so many steps and failures."""
    rng, now = scene.rng, scene.start
    old, new = f"1.{rng.randrange(20)}.0", f"2.{rng.randrange(20)}.0"
    for number in range(70):
        is_new = number >= 30 and number % 2 == 0
        if is_new and begins is not None:
            begins(now)
        run = Run(scene, agent, at=now, version=new if is_new else old)
        mean, share = (steps, failures) if is_new else (6, 0.04)
        for _ in range(max(2, round(rng.gauss(mean, mean / 5)))):
            failed = rng.random() < share
            run.read(**({"status": "error", "error_type": "tool_error", "result": None} if failed else {}))
        run.end()
        now += rng.randint(3, 6) * MINUTE
