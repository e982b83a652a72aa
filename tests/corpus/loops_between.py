"""Feedback loops that no single session shows: between agents, over runs, and agents that start agents."""

from tests.corpus.names import arguments, hexadecimal, paraphrase, word
from tests.corpus.telling import Run, Scene


def ping_pong(scene: Scene, seed: int) -> None:
    """Two agents hand the same thing to each other, in the same or in other words."""
    rng = scene.rng
    one = Run(scene)
    one.work(rng.randint(2, 6))
    two = Run(scene, at=one.now, session=one.session)
    about = word(rng)
    says = {one.agent: f"please check {about} and report", two.agent: f"{about} is not decided, please decide"}
    in_other_words = seed % 2 == 1
    scene.variant = "other words" if in_other_words else "same words"
    result = hexadecimal(rng)
    scene.counts_waste = True
    for number in range(rng.randint(8, 25)):
        if number == 1:
            scene.begins(one.now)
            one.is_redundant = two.is_redundant = True
        for run, other in ((one, two), (two, one)):
            run.think()
            text = paraphrase(rng, about) if in_other_words else says[run.agent]
            run.hand_off(other.agent, text, result=result)
            other.now = run.now
        scene.repeated(one.now)


def fan_out(scene: Scene, _: int) -> None:
    """An agent starts agents for one task, each of them starts others for it, and nobody works on it."""
    rng = scene.rng
    agent, task = scene.agent(), f"{word(rng)} {word(rng)}"
    first = Run(scene, agent)
    first.work(rng.randint(1, 4))
    waiting, started, most = [first], 1, rng.randint(40, 120)
    while started < most:
        run = waiting.pop(0)
        if started > 4:  # more than one level below the first
            scene.begins(run.now)
        for _ in range(rng.choice((1, 2, 2, 3)) if len(waiting) > 2 else 2):
            run.think()
            span = run.hand_off(agent, task)
            waiting.append(Run(scene, agent, at=run.now, root=first.session, parent=span))
            started += 1


def cron(scene: Scene, seed: int) -> None:
    """A job that is started every few minutes, fails at the same call each time, and is started again."""
    rng = scene.rng
    agent, minutes = scene.agent(), (10, 15, 20, 30, 12)[seed % 5]
    scene.variant = f"every {minutes} min"
    start, tool = scene.start, rng.choice(scene.box.writes)
    args, seen = arguments(rng, tool, scene.subject()), scene.subject()
    answer = hexadecimal(rng)
    look = rng.choice(scene.box.reads)
    read = arguments(rng, look, seen)
    scene.counts_waste = True
    for number in range(rng.randint(12, 22)):
        run = Run(scene, agent, at=start + number * minutes * 60_000_000 + rng.randrange(5_000_000), context=6_000)
        run.is_redundant = number > 0
        if number == 1:
            scene.begins(run.now)
        run.think()
        run.call(look, read, result=answer)
        run.think()
        run.call(tool, args, result=None, status="error", error_type="permission_denied")
        scene.repeated(run.now)
        run.think()
        run.end(status="error", error_type="permission_denied")


def split_history(scene: Scene, _: int) -> None:
    """One delegation whose agent is restarted again and again: no run shows more than two or three of the repeats."""
    rng = scene.rng
    agent, root = scene.agent(), hexadecimal(rng, 20)
    tool = rng.choice(scene.box.reads + scene.box.writes)
    args, result = arguments(rng, tool, scene.subject()), hexadecimal(rng)
    now, number = scene.start, 0
    scene.counts_waste = True
    for part in range(rng.randint(6, 14)):
        run = Run(scene, agent, at=now, root=root)
        if part == 0:
            run.work(rng.randint(2, 5))
        for _ in range(rng.randint(1, 3)):
            if number == 1:
                scene.begins(run.now)
            run.is_redundant = number > 0
            run.think()
            run.call(tool, args, result=result)
            scene.repeated(run.now)
            number += 1
        now = run.now + rng.randint(1_000_000, 20_000_000)
        run.end()
