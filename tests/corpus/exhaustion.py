"""Resources that run out: token budgets, contexts, rates, a provider's quota; fleets that fall silent, tools that hang."""

from collections.abc import Iterator

from schemas.times import MICROS, MINUTE
from tests.corpus.names import Tool, arguments
from tests.corpus.telling import Run, Scene
from tests.corpus.truth import Event, tokens_of

DAY_MINUTES = 24 * 60
# (length of the window in minutes, burn rate that spends its share of a daily budget): 5%, 10%, 25%
WINDOWS = ((5, 14.4), (15, 9.6), (120, 3.0))


def seconds_to_detect(before: float, after: float) -> float:
    """After a step from one burn rate to another: w (T - b0) / (r - b0) of the window that sees it first."""
    return min(60 * length * (top - before) / (after - before) for length, top in WINDOWS if after > top)


def chats(scene: Scene, run: Run, minutes: float, each_minute: float, tokens: int, cached: int = 0) -> Iterator[int]:
    """Model calls at an even rate, each of about so many tokens beside what the cache gave; yields when each begins."""
    end = run.now + round(minutes * MINUTE)
    gap = 60 / each_minute
    while run.now < end:
        yield run.now
        began = run.now
        size = round(tokens * scene.rng.uniform(0.9, 1.1))
        output = size // 10
        fields: Event = {"input_tokens": size - output + cached, "cached_input_tokens": cached}
        run.think(seconds=min(gap * 0.6, 4.0), output=output, **fields)
        run.now = began + round(gap * scene.rng.uniform(0.9, 1.1) * MICROS)


def burn_of_budget(scene: Scene, seed: int) -> None:
    """A daily budget, spent at an even rate; then the rate steps up."""
    before, after = scene.rng.uniform(0.3, 1.2), (30.0, 18.0, 11.5, 5.0, 45.0)[seed % 5]
    scene.variant = f"burn rate {after:g}"
    agent = scene.agent()
    budget = scene.rng.choice((4_000_000, 10_000_000, 25_000_000))
    scene.limit({"agent_id": agent}, tokens_per_day=budget)
    a_minute = budget / DAY_MINUTES
    run = Run(scene, agent)
    for _ in chats(scene, run, 150, 0.5, round(a_minute * before / 0.5)):
        pass
    scene.begins(run.now)
    scene.oracle_seconds = seconds_to_detect(before, after)
    length = scene.oracle_seconds / 60 * 1.6 + 5
    rate = 6.0 if length < 40 else 2.0
    for _ in chats(scene, run, length, rate, round(a_minute * after / rate)):
        pass


def burn_of_session(scene: Scene, _: int) -> None:
    """More tokens in one session than its limit allows."""
    agent, limit = scene.agent(), scene.rng.choice((200_000, 500_000, 1_000_000))
    scene.limit({"agent_id": agent}, tokens_per_session=limit)
    run = Run(scene, agent)
    used = 0
    while used < limit * 1.6:
        before = used
        if run.context > 90_000:
            run.context = 20_000  # summed up in time: what runs out is the budget, not the context
        run.think(grows=scene.rng.randint(2_000, 6_000), output=scene.rng.randint(400, 1_500))
        used = sum(tokens_of(event) for event in scene.told() if event["operation"] == "chat")
        if before <= limit < used:
            scene.begins(run.now)
        run.call(*_new_call(scene))


def burn_of_baseline(scene: Scene, seed: int) -> None:
    """No budget. An agent whose sessions were all alike needs twenty times as much; one in two was perfectly steady."""
    rng, agent = scene.rng, scene.agent()
    is_steady = seed % 2 == 0
    scene.variant = "steady before" if is_steady else "varied before"
    usual, now = rng.randint(8_000, 20_000), scene.start
    for _ in range(36):
        run = Run(scene, agent, at=now)
        factor = 1.0 if is_steady else rng.lognormvariate(0, 0.35)
        for _ in range(4):
            run.think(input_tokens=round(usual * factor / 4), cached_input_tokens=0, output=round(usual * factor / 40))
            run.call(*_new_call(scene))
        run.end()
        now += rng.randint(14, 18) * MINUTE
    run = Run(scene, agent, at=now)
    scene.begins(now)
    for _ in range(40):
        run.think(input_tokens=usual // 2, cached_input_tokens=0, output=usual // 20)
        run.call(*_new_call(scene))


def context_overload(scene: Scene, seed: int) -> None:
    """The context grows to its limit, an answer is cut off, and the agent acts all the same."""
    rng = scene.rng
    limit = rng.choice((128_000, 200_000))
    run = Run(scene, context=round(limit * rng.uniform(0.3, 0.5)), context_limit=limit)
    scene.variant = "cut off" if seed % 2 == 0 else "full"
    while run.context < limit * 0.98:
        run.think(grows=rng.randint(limit // 60, limit // 30))
        if run.context >= limit * 0.8:
            scene.begins(run.now)
        run.call(*_new_call(scene))
    run.think(grows=limit - run.context, finish_reason="length" if seed % 2 == 0 else None)
    run.change()


def rate_spike(scene: Scene, seed: int) -> None:
    """An agent calls at its usual rate, then ten times as often."""
    rng, agent = scene.rng, scene.agent()
    usual, times = (6.0, 3.0, 10.0, 1.0, 5.0)[seed % 5], rng.uniform(9, 14)
    scene.variant = f"usually {usual:g} a minute"
    run = Run(scene, agent)
    _calls_by_chance(scene, run, 70, usual)
    scene.begins(run.now)
    _calls_by_chance(scene, run, rng.randint(3, 6), max(usual * times, 40))


def throttling(scene: Scene, seed: int) -> None:
    """The provider refuses most calls of an agent for some minutes."""
    rng = scene.rng
    error = ("429", "rate_limit_exceeded", "insufficient_quota", "RateLimitError", "429 Too Many Requests")[seed % 5]
    scene.variant = error
    run = Run(scene)
    run.work(rng.randint(6, 14))
    for number in range(rng.randint(20, 45)):
        if number == 1:
            scene.begins(run.now)
        if number and rng.random() < 0.12:
            run.read()
            continue
        run.think(seconds=rng.uniform(0.2, 0.8), status="error", error_type=error, output=0, attempt=1 + number % 5)
        run.rest(rng.uniform(2, 9))
    run.work(2)


def silence(scene: Scene, seed: int) -> None:
    """A fleet that was calling stops all at once, or gets nothing but refusals; its tenant's cluster goes on."""
    rng = scene.rng
    stops, until = scene.start + 45 * MINUTE, scene.start + 80 * MINUTE
    scene.variant = "refused" if seed % 2 else "silent"
    for _ in range(rng.randint(4, 6)):
        run = Run(scene, at=scene.start + rng.randrange(MINUTE))
        while run.now < stops:
            run.read()
            run.rest(rng.expovariate(1 / 40))
        while seed % 2 and run.now < until:
            run.think(seconds=0.4, status="error", error_type="insufficient_quota", output=0)
            run.rest(rng.uniform(50, 70))
    scene.begins(stops)
    other = Run(scene)  # an agent of the same tenant with another provider: what stopped is not the telemetry
    while other.now < until:
        other.read()
        other.rest(rng.uniform(40, 80))


def stuck_tool(scene: Scene, seed: int) -> None:
    """A tool that usually takes two seconds does not come back for many minutes, or never in the recording."""
    rng = scene.rng
    tool, agent = rng.choice(scene.box.reads), scene.agent()
    run = Run(scene, agent)
    for _ in range(rng.randint(25, 40)):
        run.think()
        run.call(tool, arguments(rng, tool, scene.subject()), seconds=rng.uniform(1, 3))
    run.think()
    scene.begins(run.now + 40 * MICROS)  # nobody can know before
    scene.variant = "ends at last"
    run.call(tool, arguments(rng, tool, scene.subject()), seconds=rng.uniform(500, 1200))
    if seed % 2:
        run.think()
        run.end()


def _new_call(scene: Scene) -> tuple[Tool, dict[str, object]]:
    tool = scene.rng.choice(scene.box.reads)
    return tool, arguments(scene.rng, tool, scene.subject())


def _calls_by_chance(scene: Scene, run: Run, minutes: float, each_minute: float) -> None:
    """Model calls that come by chance (Poisson), each with another thing in mind."""
    end = run.now + round(minutes * MINUTE)
    while True:
        gap = scene.rng.expovariate(each_minute / 60)
        if run.now + gap * MICROS >= end:
            run.now = end
            return
        began = run.now + round(gap * MICROS)
        run.now = began
        run.think(seconds=0.3, grows=0)
        run.now = began
