"""Busy, repetitive, healthy sessions: what a naive loop detector stops by mistake. Every alarm here is false."""

from schemas.times import MICROS, MINUTE
from tests.corpus.breaches import CAREFUL, goes_on, operator
from tests.corpus.names import WAIT, arguments, hexadecimal, resource, word
from tests.corpus.telling import NEW, Run, Scene
from tests.corpus.truth import Event


def poll_that_changes(scene: Scene, _: int) -> None:
    """The same question, each time another answer."""
    run = Run(scene, pace=scene.rng.choice((1.0, 3.0)))
    run.work(scene.rng.randint(2, 8))
    tool = scene.rng.choice(scene.box.reads)
    args = arguments(scene.rng, tool, scene.subject())
    for _ in range(scene.rng.randint(10, 50)):
        run.think()
        run.call(tool, args, result=NEW)
    run.work(scene.rng.randint(2, 8))


def instructed_poll(scene: Scene, seed: int) -> None:
    """It was told to wait: the call says how long it waits, a wait stands between, or limits.yml says the tool polls."""
    rng = scene.rng
    run = Run(scene)
    run.work(rng.randint(3, 8))
    scene.variant = ("waits itself", "a wait between", "declared")[seed % 3]
    tool, pause = rng.choice(scene.box.reads), rng.choice((20, 30, 60))
    args, pending = arguments(rng, tool, scene.subject()), hexadecimal(rng)
    if scene.variant == "declared":
        scene.limit({"tool_name": tool.name}, may_poll=True)
    for _ in range(rng.randint(6, 16)):
        run.think()
        if scene.variant == "a wait between":
            run.call(WAIT, {"seconds": pause}, result=pending, seconds=pause)
            run.think()
        waits = scene.variant == "waits itself"
        given = args | {"wait_seconds": pause} if waits else args
        run.call(tool, given, result=pending, seconds=float(pause) if waits else None)
        if scene.variant == "declared":
            run.rest(pause)
    run.think()
    run.call(tool, args, result=NEW)
    run.work(rng.randint(3, 8))


def pagination(scene: Scene, seed: int) -> None:
    """Page after page: by number, by cursor, or by the same click that brings another page."""
    run = Run(scene)
    run.work(scene.rng.randint(1, 5))
    scene.variant = ("page", "cursor", "click")[seed % 3]
    tool, subject = scene.rng.choice(scene.box.reads), scene.subject()
    for number in range(scene.rng.randint(12, 60)):
        ways: dict[str, Event] = {"page": {"page": number}, "cursor": {"cursor": hexadecimal(scene.rng)}, "click": {}}
        run.think()
        run.call(tool, {tool.subject: subject, "limit": 50} | ways[scene.variant], result=NEW)
    run.work(3)


def batch(scene: Scene, _: int) -> None:
    """One item after the other, each answered with the same ok."""
    run = Run(scene)
    run.work(scene.rng.randint(1, 5))
    tool, done = scene.rng.choice(scene.box.writes), hexadecimal(scene.rng)
    content = word(scene.rng)
    subjects = [scene.subject() for _ in range(scene.rng.randint(15, 80))]
    look = scene.rng.choice(scene.box.reads)
    run.think()
    run.call(look, {look.subject: subjects[0], "limit": len(subjects)})
    for subject in subjects:
        run.think()
        run.call(tool, {tool.subject: subject, "content": content}, result=done)


def edit_and_test(scene: Scene, _: int) -> None:
    """The same test again and again, another edit before it each time, and another result."""
    rng = scene.rng
    run = Run(scene)
    run.work(rng.randint(2, 6))
    edit, test, look = rng.choice(scene.box.writes), rng.choice(scene.box.writes), rng.choice(scene.box.reads)
    subject, command = scene.subject(), {"command": f"check {word(rng)}"}
    written = hexadecimal(rng)
    for number in range(rng.randint(6, 20)):
        run.think()
        run.call(look, {look.subject: subject, "from": number * 7})
        run.think()
        run.call(edit, {edit.subject: subject, "content": word(rng)}, result=written)
        run.think()
        failed = number % 3 == 0
        fields: Event = {"status": "error", "error_type": "exit_1"} if failed else {}
        run.call(test, command, result=NEW, **fields)
    run.work(2)


def retry_that_succeeds(scene: Scene, _: int) -> None:
    """A call that fails two to four times, with longer waits, then works; more than once in the session."""
    rng = scene.rng
    run = Run(scene)
    for _ in range(rng.randint(1, 4)):
        run.work(rng.randint(2, 6))
        tool = rng.choice(scene.box.reads)
        args, fails = arguments(rng, tool, scene.subject()), rng.randint(2, 4)
        run.think()
        for number in range(fails):
            run.call(tool, args, result=None, status="error", error_type="timeout", attempt=number + 1)
            run.rest(2 ** (number + 1))
        run.call(tool, args, attempt=fails + 1)
    run.work(3)


def parallel_turn(scene: Scene, _: int) -> None:
    """Five to eight equal calls in one turn: asked for once, before any answer was there."""
    rng = scene.rng
    run = Run(scene)
    run.work(rng.randint(2, 8))
    for _ in range(rng.randint(1, 2)):
        run.think()
        tool, at = rng.choice(scene.box.reads), run.now
        args, result = arguments(rng, tool, scene.subject()), hexadecimal(rng)
        for _ in range(rng.randint(5, 8)):
            run.call(tool, args, result=result, starts=at, seconds=rng.uniform(2, 3))
        run.work(rng.randint(2, 6))


def volatile_results(scene: Scene, _: int) -> None:
    """Productive work whose results never equal each other, equal commands among them."""
    rng = scene.rng
    run = Run(scene)
    tool = rng.choice(scene.box.writes)
    command = {"command": f"run {word(rng)}"}
    for _ in range(rng.randint(8, 18)):
        run.work(rng.randint(1, 3))
        run.think()
        run.call(tool, command, result=NEW)


def volatile_arguments(scene: Scene, seed: int) -> None:
    """Only a since, an offset or a time-out changes from call to call, and every answer is new."""
    rng = scene.rng
    run = Run(scene)
    run.work(2)
    field = ("since", "offset", "timeout", "until")[seed % 4]
    scene.variant = field
    tool = rng.choice(scene.box.reads)
    args = arguments(rng, tool, scene.subject())
    for number in range(rng.randint(10, 40)):
        run.think()
        moves = {"since": run.now // MICROS, "until": run.now // MICROS, "offset": number * 100, "timeout": 30 + number}
        run.call(tool, args | {field: moves[field]}, result=NEW)


def no_text_arguments(scene: Scene, seed: int) -> None:
    """Tools that take numbers only, or whose arguments are not sent: nothing to call equal by."""
    rng = scene.rng
    run = Run(scene)
    run.work(2)
    scene.variant = "numbers" if seed % 2 else "not sent"
    scene.gives_digests = False
    tool, done = rng.choice(scene.box.reads + scene.box.writes), hexadecimal(rng)
    for number in range(rng.randint(12, 50)):
        run.think()
        args = {"x": rng.randrange(2_000), "y": [number, rng.random()]} if seed % 2 else None
        run.call(tool, args, result=done if seed % 2 else None, target=None)
    run.work(2)


def compaction(scene: Scene, _: int) -> None:
    """The context is cut in the middle of long work; some of it is read again, once."""
    rng = scene.rng
    run = Run(scene, context=rng.randint(40_000, 60_000), context_limit=200_000)
    subjects = [scene.subject() for _ in range(rng.randint(10, 20))]
    tool = rng.choice(scene.box.reads)
    for again in range(2):
        for subject in subjects:
            run.think(grows=rng.randint(400, 2_000))
            run.call(tool, {tool.subject: subject}, result=hexadecimal(rng))
        run.work(rng.randint(5, 10))
        if not again:
            run.context = 15_000
            run.think(attributes='{"context.compacted":true}')
    run.end()


def split_history(scene: Scene, _: int) -> None:
    """One delegation in several runs, each going on where the one before it stopped."""
    rng = scene.rng
    agent, root, now = scene.agent(), hexadecimal(rng, 20), scene.start
    tool = rng.choice(scene.box.reads)
    overview = arguments(rng, tool, scene.subject())
    for _ in range(rng.randint(4, 9)):
        run = Run(scene, agent, at=now, root=root)
        run.think()
        run.call(tool, overview)  # each run begins with a look at what there is, which has changed
        run.work(rng.randint(3, 8))
        run.end()
        now = run.now + rng.randint(1, 30) * MICROS + (run.now - run.began)


def looks_again(scene: Scene, _: int) -> None:
    """Equal calls all over a session, with the same answer at times, never without work between."""
    rng = scene.rng
    run = Run(scene)
    tool = rng.choice(scene.box.reads)
    status = [(arguments(rng, tool, scene.subject()), hexadecimal(rng)) for _ in range(3)]
    for _ in range(rng.randint(6, 14)):
        run.work(rng.randint(2, 6))
        args, result = rng.choice(status)
        run.think()
        run.call(tool, args, result=result if rng.random() < 0.5 else NEW)


def bursty(scene: Scene, _: int) -> None:
    """Many calls at once, then long pauses."""
    rng = scene.rng
    run = Run(scene)
    for _ in range(rng.randint(4, 9)):
        for _ in range(rng.randint(1, 3)):
            run.think(seconds=1.0)
            at = run.now
            for _ in range(rng.randint(6, 20)):
                tool = rng.choice(scene.box.reads)
                run.call(tool, arguments(rng, tool, scene.subject()), starts=at)
        run.rest(rng.uniform(120, 900))


def long_session(scene: Scene, _: int) -> None:
    """Hours of varied work in one session."""
    run = Run(scene, pace=scene.rng.choice((1.0, 4.0)), context_limit=200_000)
    for _ in range(scene.rng.randint(3, 5)):
        run.work(scene.rng.randint(15, 30))
        run.context = 20_000
    run.end()


def conversation(scene: Scene, _: int) -> None:
    """Model calls without a tool between them, each with something new to say."""
    run = Run(scene)
    for _ in range(scene.rng.randint(15, 45)):
        run.think(grows=scene.rng.randint(80, 600))
        run.rest(scene.rng.uniform(5, 60))


def hand_offs(scene: Scene, _: int) -> None:
    """An orchestrator gives each worker its own task, one or two levels deep, and waits for them."""
    rng = scene.rng
    first = Run(scene)
    first.work(2)
    for _ in range(rng.randint(3, 8)):
        first.think()
        worker = scene.agent()
        span = first.hand_off(worker, f"{word(rng)} {word(rng)} {word(rng)}")
        run = Run(scene, worker, at=first.now, root=first.session, parent=span)
        run.work(rng.randint(2, 5))
        if rng.random() < 0.3:
            run.think()
            inner = run.hand_off(worker, f"{word(rng)} {word(rng)}")
            helper = Run(scene, worker, at=run.now, root=first.session, parent=inner)
            helper.work(2)
            helper.end()
        run.end()
    first.think()
    first.end()


def scheduled(scene: Scene, _: int) -> None:
    """The same job every few minutes; it fails once or twice, and else finds something new."""
    rng = scene.rng
    agent, minutes = scene.agent(), rng.choice((10, 15, 20, 30))
    tool = rng.choice(scene.box.reads)
    args, failing = arguments(rng, tool, scene.subject()), set(rng.sample(range(16), 2))
    for number in range(16):
        run = Run(scene, agent, at=scene.start + number * minutes * MINUTE, context=6_000)
        run.think()
        fields: Event = {"status": "error", "error_type": "timeout", "result": None} if number in failing else {}
        run.call(tool, args, **fields)
        if number not in failing:
            run.work(rng.randint(1, 3))
        run.think()
        run.end()


def careful_change(scene: Scene, seed: int) -> None:
    """Changes as the limits ask for them: read, said why, approved, first a canary, no window against them."""
    rng = scene.rng
    run = operator(scene, **CAREFUL)
    target = resource(rng)
    for percent in (5, 25, 100) if seed % 2 else (10, 100):
        run.read(target)
        run.think()
        tool = rng.choice(scene.box.writes)
        approved: Event = {"approval": "granted", "approved_by": word(rng)}
        args = {"name": target, "percent": percent, "version": hexadecimal(rng, 8)}
        run.call(tool, args, summary=f"{percent}% of the roll-out, the step before was well", **approved)
        run.rest(rng.uniform(60, 300))
    elsewhere = resource(rng)
    window = {"valid_from": run.now, "valid_until": run.now + 60 * MINUTE, "source": "calendar"}
    scene.cluster(run.now, "maintenance", elsewhere, actor="on-call", actor_kind="human", **window)
    goes_on(run)
