"""Healthy use of tokens, calls and providers: what a threshold on a sum stops by mistake. Every alarm here is false."""

import math

from schemas.times import MICROS, MINUTE
from tests.corpus.breaches import roll_out
from tests.corpus.exhaustion import DAY_MINUTES, chats
from tests.corpus.names import arguments
from tests.corpus.telling import Run, Scene


def within_budget(scene: Scene, seed: int) -> None:
    """A budget, spent faster at times but never faster than its windows allow; and one call that is very large."""
    agent, budget = scene.agent(), scene.rng.choice((4_000_000, 10_000_000, 25_000_000))
    scene.limit({"agent_id": agent}, tokens_per_day=budget)
    run = Run(scene, agent)
    for rate in (0.6, 2.4, 0.8, 1.8):
        for _ in chats(scene, run, 45, 1.0, round(budget / DAY_MINUTES * rate)):
            pass
    scene.variant = "one large call" if seed % 2 else "waves"
    if seed % 2:
        run.think(input_tokens=round(budget * 0.02), cached_input_tokens=0, output=500)


def cache_reads(scene: Scene, _: int) -> None:
    """Millions of input tokens that are cache reads, in runs whose own span sums up what they used."""
    agent = scene.agent()
    scene.limit({"agent_id": agent}, tokens_per_day=6_000_000, tokens_per_session=1_500_000)
    now = scene.start
    for _ in range(3):
        run = Run(scene, agent, at=now, cache_share=0.98)
        for _ in chats(scene, run, 25, 2.0, 3_000, cached=scene.rng.randint(90_000, 150_000)):
            pass
        run.work(3)
        now = run.now + 5 * MINUTE
        run.end()


def seasons(scene: Scene, _: int) -> None:
    """Four days of an agent that is busy in office hours and almost idle at night."""
    rng, agent = scene.rng, scene.agent()
    now = scene.start
    for hour in range(4 * 24):
        at = now + hour * 60 * MINUTE
        of_day = at // (60 * MINUTE) % 24
        busy = 7 * math.exp(-(((of_day - 13) / 3.5) ** 2)) + 0.3
        for _ in range(min(9, round(rng.gauss(busy, math.sqrt(busy) / 2)))):
            run = Run(scene, agent, at=at + rng.randrange(60 * MINUTE))
            run.read()
            run.end()


def few_calls(scene: Scene, _: int) -> None:
    """An agent that calls once in a while: by chance there are eight in a minute."""
    rng, agent = scene.rng, scene.agent()
    run = Run(scene, agent)
    for _ in range(rng.randint(40, 70)):
        if rng.random() < 0.04:
            for _ in range(rng.randint(4, 8)):
                run.think(seconds=0.5)
                run.rest(rng.uniform(1, 6))
        run.read()
        run.rest(rng.expovariate(1 / 120))


def growing_use(scene: Scene, _: int) -> None:
    """The rate of an agent doubles in the course of two hours, as work comes in."""
    rng = scene.rng
    run = Run(scene)
    began = run.now
    while (elapsed := run.now - began) < 120 * MINUTE:
        rate = 1.5 * (1 + elapsed / (120 * MINUTE))
        run.think(seconds=0.5, grows=0)
        run.rest(rng.expovariate(rate / 60))


def varied_tasks(scene: Scene, _: int) -> None:
    """Sessions of one agent that differ ten times in what they need, from the first to the last."""
    rng, agent, now = scene.rng, scene.agent(), scene.start
    for _ in range(40):
        run = Run(scene, agent, at=now)
        for _ in range(max(1, round(3 * rng.lognormvariate(0, 0.7)))):
            run.read()
        run.end()
        now += rng.randint(8, 15) * MINUTE


def refused_once(scene: Scene, _: int) -> None:
    """One or two calls are refused for their rate, and work at the next try."""
    run = Run(scene)
    for _ in range(scene.rng.randint(2, 4)):
        run.work(scene.rng.randint(4, 9))
        for number in range(scene.rng.randint(1, 2)):
            run.think(seconds=0.4, status="error", error_type="429", output=0, attempt=number + 1)
            run.rest(2 ** (number + 1))
    run.work(4)


def fleet_goes_home(scene: Scene, _: int) -> None:
    """A fleet ends its work, each agent when it is done; the tenant's cluster goes on."""
    rng = scene.rng
    for number in range(rng.randint(4, 6)):
        run = Run(scene, at=scene.start + rng.randrange(MINUTE))
        until = scene.start + (25 + 8 * number) * MINUTE
        while run.now < until:
            run.read()
            run.rest(rng.expovariate(1 / 40))
        run.think()
        run.end()
    other = Run(scene)
    while other.now < scene.start + 90 * MINUTE:
        other.read()
        other.rest(rng.uniform(40, 80))


def slow_tool(scene: Scene, _: int) -> None:
    """A tool that takes from seconds to minutes, as it always did."""
    rng = scene.rng
    run = Run(scene)
    tool = rng.choice(scene.box.writes)
    for _ in range(rng.randint(25, 45)):
        run.think()
        run.call(tool, arguments(rng, tool, scene.subject()), seconds=min(400.0, 20 * rng.lognormvariate(0, 1.0)))


def half_full_context(scene: Scene, _: int) -> None:
    """A context that grows, is cut in time, and grows again."""
    rng = scene.rng
    run = Run(scene, context=30_000, context_limit=200_000)
    for _ in range(2):
        while run.context < 120_000:
            run.think(grows=rng.randint(2_000, 5_000))
            tool = rng.choice(scene.box.reads)
            run.call(tool, arguments(rng, tool, scene.subject()))
        run.context = 18_000
        run.think(attributes='{"context.compacted":true}')


def good_version(scene: Scene, seed: int) -> None:
    """A new version that needs as much as the old one, or a little less."""
    scene.variant = "less" if seed % 2 else "as much"
    roll_out(scene, scene.agent(), 5 if seed % 2 else 6, 0.04)


def steady_fleet(scene: Scene, _: int) -> None:
    """Many agents at once, each at an even rate for an hour."""
    for _ in range(scene.rng.randint(3, 5)):
        run = Run(scene, at=scene.start + scene.rng.randrange(MINUTE))
        while run.now < scene.start + 40 * MINUTE:
            run.read()
            run.rest(scene.rng.uniform(20, 40))
        run.now += MICROS
        run.end()
