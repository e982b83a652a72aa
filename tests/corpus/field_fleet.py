"""Fleets that meet a quota in their own time, as operators tell it, and fleets that only look as if they did."""

from schemas.times import MICROS, MINUTE
from tests.corpus.names import arguments
from tests.corpus.telling import Run, Scene

WAYS = ("retries with jitter", "gives up", "ends with an error", "hangs", "hangs, and was slow")


def works_until(scene: Scene, run: Run, until: int, pause: float) -> None:
    """Ordinary work with pauses that come by chance."""
    while run.now < until:
        run.read()
        run.rest(scene.rng.expovariate(1 / pause))


def goes_on(scene: Scene, until: int) -> None:
    """Another agent of the tenant, with another provider: what stops is not the telemetry."""
    works_until(scene, Run(scene), until, 60)


def quota_by_and_by(scene: Scene, seed: int) -> None:
    """Each agent of a fleet meets the used-up quota at a call of its own, and does what its client does then."""
    rng, way = scene.rng, WAYS[seed % 5]
    scene.variant = way
    is_slow = way == WAYS[4]
    stops = scene.start + (90 if is_slow else 45) * MINUTE
    for number in range(rng.randint(4, 7)):
        run = Run(scene, at=scene.start + rng.randrange(MINUTE))
        works_until(scene, run, stops + round(number * rng.uniform(0.3, 1.2) * MINUTE), 120 if is_slow else 40)
        _meets_the_quota(scene, run, way, stops + 40 * MINUTE)
    scene.begins(stops)
    goes_on(scene, stops + 45 * MINUTE)


def _meets_the_quota(scene: Scene, run: Run, way: str, until: int) -> None:
    rng = scene.rng
    if "hangs" in way:
        return
    for number in range(400 if way == WAYS[0] else 4):
        if run.now >= until:
            break
        run.think(seconds=0.4, status="error", error_type="insufficient_quota", output=0, attempt=number + 1)
        run.rest(min(240, 2 ** (number + 1)) * rng.uniform(0.5, 1.5))
    if way == WAYS[2]:
        run.end(status="error", error_type="insufficient_quota")


def whole_fleet_stops(scene: Scene, seed: int) -> None:
    """Every agent of the tenant stops at once, and only its cluster goes on; or tries on, at ever longer intervals."""
    rng = scene.rng
    scene.variant = ("silent", "errors", "errors of new runs")[seed % 3]
    stops, until = scene.start + 45 * MINUTE, scene.start + 75 * MINUTE
    for _ in range(rng.randint(3, 7)):
        run = Run(scene, at=scene.start + rng.randrange(MINUTE))
        works_until(scene, run, stops, 40)
        for number in range(12 if seed % 3 else 0):
            if seed % 3 == 2:
                run = Run(scene, run.agent, at=run.now)
            run.think(seconds=0.4, status="error", error_type="connection_error", output=0, attempt=number + 1)
            run.rest(min(400, 20 * 2**number) * rng.uniform(0.8, 1.2))
    scene.begins(stops)
    cluster_goes_on(scene, until)


def fleet_ends_well(scene: Scene, _: int) -> None:
    """Every agent of the tenant ends its work within a minute, and says so; the cluster goes on."""
    rng = scene.rng
    for _ in range(rng.randint(3, 7)):
        run = Run(scene, at=scene.start + rng.randrange(MINUTE))
        works_until(scene, run, scene.start + 45 * MINUTE, 40)
        run.end()
    cluster_goes_on(scene, scene.start + 75 * MINUTE)


def cluster_goes_on(scene: Scene, until: int) -> None:
    """A deployment of the tenant sends a metric every half minute."""
    for at in range(scene.start, until, MINUTE // 2):
        resource = "prod/shop/deployment/cart"
        point = {"type": "metric_point", "event_time": at, "resource": resource, "metric": "pods_ready", "value": 3.0}
        scene.add(point)


def refused_in_bursts(scene: Scene, _: int) -> None:
    """A fleet near its rate limit: now and then a call is refused once or twice, and works then."""
    rng = scene.rng
    for _ in range(rng.randint(4, 7)):
        run = Run(scene, at=scene.start + rng.randrange(MINUTE))
        while run.now < scene.start + 60 * MINUTE:
            for number in range(rng.randint(1, 3) if rng.random() < 0.06 else 0):
                run.think(seconds=0.4, status="error", error_type="429", output=0, attempt=number + 1)
                run.rest(2**number)
            run.read()
            run.rest(rng.expovariate(1 / 20))


def batch_of_runs(scene: Scene, _: int) -> None:
    """A batch is worked off by a fleet, run after run, and when it is empty all stop at about the same time."""
    rng = scene.rng
    until = scene.start + rng.randint(30, 50) * MINUTE
    for _ in range(rng.randint(4, 6)):
        agent, now = scene.agent(), scene.start + rng.randrange(MINUTE)
        while now < until:
            run = Run(scene, agent, at=now)
            run.work(rng.randint(1, 3))
            now = run.now + rng.randint(5, 60) * MICROS
            run.end()
    goes_on(scene, until + 40 * MINUTE)


def left_one_by_one(scene: Scene, _: int) -> None:
    """Agents that people talk to: each is left when its person goes, and none says that it is over."""
    rng = scene.rng
    for number in range(rng.randint(4, 6)):
        run = Run(scene, at=scene.start + rng.randrange(MINUTE))
        works_until(scene, run, scene.start + (25 + 11 * number) * MINUTE, 40)
    goes_on(scene, scene.start + 120 * MINUTE)


def one_tool_floods(scene: Scene, seed: int) -> None:
    """An agent that calls much, as it always does; one of its tools, or one target, gets twenty times its usual share."""
    rng = scene.rng
    run = Run(scene)
    tool, other = rng.sample(scene.box.reads, 2)
    scene.variant = "one target" if seed % 2 else "one tool"
    subject = scene.subject()
    for minute in range(70):
        is_odd = minute >= 64
        if minute == 64:
            scene.begins(run.now)
        at = scene.start + minute * MINUTE
        for number in range(rng.randint(55, 65)):
            flooded = rng.random() < (0.75 if is_odd else 0.03)
            run.now = at + number * MICROS * 50 // 65
            if seed % 2:
                name = subject if flooded else scene.subject()
                run.call(other, {"name": name, "at": number}, target=name, seconds=0.2)
            else:
                one = tool if flooded else other
                run.call(one, arguments(rng, one, scene.subject()), seconds=0.2)
    run.work(2)


def mix_of_tools(scene: Scene, _: int) -> None:
    """An agent that calls much; which tool it needs most changes with what it works on."""
    rng = scene.rng
    run = Run(scene)
    tools = scene.box.reads + scene.box.writes[:1]
    weights = [1.0] * len(tools)
    for minute in range(80):
        if minute % 8 == 0:
            weights = [rng.uniform(0.4, 3.0) for _ in tools]
        at = scene.start + minute * MINUTE
        for number in range(rng.randint(55, 65)):
            run.now = at + number * MICROS * 50 // 65
            one = rng.choices(tools, weights)[0]
            run.call(one, arguments(rng, one, scene.subject()), seconds=0.2)
    run.work(2)
