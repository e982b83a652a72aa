"""Feedback loops of one session. Sizes and cadences are those that were observed.

Real loops had 220 calls in 25 min (8 s apart), 364 in 50 min (5 to 8 s) and 300 in 4.6 h; most are stopped earlier.
Each begins inside ordinary work, half of them are left again.
"""

from collections.abc import Callable, Sequence

from tests.corpus.names import WAIT, Tool, arguments, hexadecimal, paraphrase, word
from tests.corpus.telling import NEW, Run, Scene, one_of
from tests.corpus.truth import Event

LONG = (150, 300)
Step = Callable[[int], object]  # takes the number of the cycle


def begun(scene: Scene) -> Run:
    """A run that has done some ordinary work; one in four is slow."""
    run = Run(scene, pace=scene.rng.choice((1.0, 1.0, 1.0, 8.0)))
    run.work(scene.rng.randint(3, 12))
    return run


def repeat(scene: Scene, run: Run, cycle: Sequence[Step], times: int) -> None:
    """Go through the cycle so often; all but the first round is redundant."""
    scene.counts_waste = True
    for number in range(times):
        if number == 1:
            scene.begins(run.now)
            run.is_redundant = True
        for step in cycle:
            step(number)
        scene.repeated(run.now)
    run.is_redundant = False


def left(scene: Scene, run: Run) -> None:
    """Half of the loops are left again, and work goes on."""
    if scene.rng.random() < 0.5:
        run.work(scene.rng.randint(10, 16))
        run.think()
        run.end()


def _same(scene: Scene, run: Run) -> Step:
    """Think, then one call that is the same every time and brings the same."""
    tool = scene.rng.choice(scene.box.reads + scene.box.writes)
    args, result = arguments(scene.rng, tool, scene.subject()), hexadecimal(scene.rng)

    def step(_: int) -> None:
        run.think()
        run.call(tool, args, result=result)

    return step


def exact(scene: Scene, seed: int) -> None:
    """The same call with the same result. Some senders give text instead of an object, or no results."""
    run = begun(scene)
    shape = ("object", "text", "list", "object", "no results")[seed % 5]
    scene.variant = shape
    tool = scene.rng.choice(scene.box.reads)
    given = arguments(scene.rng, tool, scene.subject())
    text = {"text": f"{tool.name} {given[tool.subject]}", "list": f'[["{given[tool.subject]}",{{"deep":[1,null]}}]]'}
    result = None if shape == "no results" else hexadecimal(scene.rng)

    def step(_: int) -> None:
        run.think()
        run.call(tool, text.get(shape, given), result=result)

    repeat(scene, run, [step], one_of(scene.rng, 8, 45, LONG))
    left(scene, run)


def cycle(scene: Scene, seed: int) -> None:
    """A round of two to eight calls, again and again."""
    run = begun(scene)
    period = 2 + seed % 7
    scene.variant = f"period {period}"
    repeat(scene, run, [_same(scene, run) for _ in range(period)], scene.rng.randint(6, 20))
    left(scene, run)


def same_meaning(scene: Scene, _: int) -> None:
    """Equal in meaning: key order, 1 and 1.0, absent and null, a slash at the end, white space."""
    run = begun(scene)
    scene.gives_digests = False
    tool = scene.rng.choice(scene.box.reads)
    subject, result = scene.subject(), hexadecimal(scene.rng)
    forms = (
        f'{{"{tool.subject}":"{subject}","depth":1}}',
        f'{{"depth":1.0,"{tool.subject}":"{subject}"}}',
        f'{{"{tool.subject}":"{subject}/","depth":1,"after":null}}',
        f'{{ "depth": 1, "{tool.subject}": "  {subject} " }}',
    )

    def step(number: int) -> None:
        run.think()
        run.call(tool, scene.rng.choice(forms) if number else forms[0], result=result)

    repeat(scene, run, [step], one_of(scene.rng, 10, 40, LONG))
    left(scene, run)


def near_paraphrase(scene: Scene, _: int) -> None:
    """The same few questions in ever new words: the text is new, what it is about is not, nor what comes back."""
    run = begun(scene)
    tool = scene.rng.choice(scene.box.reads)
    about = {scene.subject(): hexadecimal(scene.rng) for _ in range(scene.rng.randint(1, 3))}

    def step(number: int) -> None:
        subject = list(about)[number % len(about)]
        run.think()
        run.call(tool, {"query": paraphrase(scene.rng, subject)}, result=about[subject])

    def round_of_all(number: int) -> None:
        for place in range(len(about)):
            step(number * len(about) + place)

    repeat(scene, run, [round_of_all], scene.rng.randint(15, 40))
    left(scene, run)


def near_jitter(scene: Scene, seed: int) -> None:
    """One field that does not matter changes in every call: a flag of no effect, a since, a nonce, a time-out."""
    run = begun(scene)
    field = ("variant", "since", "nonce", "timeout", "note")[seed % 5]
    scene.variant = field
    tool = scene.rng.choice(scene.box.reads + scene.box.writes)
    args, result = arguments(scene.rng, tool, scene.subject()), hexadecimal(scene.rng)

    def step(number: int) -> None:
        run.think()
        jitter: dict[str, object] = {
            "variant": scene.rng.randrange(10_000),
            "since": run.now // 1_000_000,
            "nonce": hexadecimal(scene.rng),
            "timeout": 30 + number,
            "note": word(scene.rng),
        }
        run.call(tool, args | {field: jitter[field]}, result=result)

    repeat(scene, run, [step], one_of(scene.rng, 12, 45, LONG))
    left(scene, run)


def with_strangers(scene: Scene, _: int) -> None:
    """The same call with the same result; now and then another call stands between, which does not begin it anew."""
    run = begun(scene)
    again = _same(scene, run)

    def step(number: int) -> None:
        if number and scene.rng.random() < 0.25:
            run.read()
        again(number)

    repeat(scene, run, [step], scene.rng.randint(14, 45))
    left(scene, run)


def volatile_results(scene: Scene, _: int) -> None:
    """The same thing is written again and again; a pid and a duration in the result make each result a new one."""
    run = begun(scene)
    tool = scene.rng.choice(scene.box.writes)
    args = arguments(scene.rng, tool, scene.subject())

    def step(_: int) -> None:
        run.think()
        run.call(tool, args, result=NEW)

    repeat(scene, run, [step], one_of(scene.rng, 12, 45, LONG))
    left(scene, run)


def retry_storm(scene: Scene, seed: int) -> None:
    """A call that fails, and is tried again as it is; every other one waits longer each time."""
    run = begun(scene)
    backs_off = seed % 2 == 1
    scene.variant = "with back-off" if backs_off else "without back-off"
    tool = scene.rng.choice(scene.box.reads + scene.box.writes)
    args = arguments(scene.rng, tool, scene.subject())
    error = scene.rng.choice(("timeout", "connection_refused", "internal_error", "permission_denied"))

    def step(number: int) -> None:
        if backs_off and number:
            run.rest(min(120, 2 ** (number - 1)))
        if number == 0 or scene.rng.random() < 0.6:
            run.think()
        run.call(tool, args, result=None, status="error", error_type=error, attempt=number + 1)

    repeat(scene, run, [step], scene.rng.randint(10, 20) if backs_off else one_of(scene.rng, 10, 60, LONG))
    left(scene, run)


def waits_between(scene: Scene, _: int) -> None:
    """A change that takes no effect is made again after a pause, and looked at: the same as before, every time."""
    run = begun(scene)
    subject, same = scene.subject(), hexadecimal(scene.rng)
    write, look = scene.rng.choice(scene.box.writes), scene.rng.choice(scene.box.reads)
    change, read = arguments(scene.rng, write, subject), arguments(scene.rng, look, subject)

    def step(_: int) -> None:
        run.think()
        run.call(write, change, result=same)
        run.call(WAIT, {"seconds": 20}, result=same, seconds=20)
        run.think()
        run.call(look, read, result=same)

    repeat(scene, run, [step], scene.rng.randint(7, 18))
    left(scene, run)


def no_tool(scene: Scene, seed: int) -> None:
    """The model says the same again and again and calls no tool; the context grows, or is the same each time."""
    run = begun(scene)
    grows = seed % 2 == 0
    scene.variant = "growing context" if grows else "equal context"
    said, output = hexadecimal(scene.rng), scene.rng.randint(80, 900)
    if not grows:
        run.context = scene.rng.randint(30_000, 90_000)

    def step(_: int) -> None:
        run.think(result=said, output=output, grows=output + 40 if grows else 0)

    repeat(scene, run, [step], one_of(scene.rng, 10, 40, (54, 120)))
    left(scene, run)


def with_compaction(scene: Scene, seed: int) -> None:
    """The context is cut in the middle of a loop, and it goes on as before."""
    run = begun(scene)
    run.context = scene.rng.randint(90_000, 120_000)
    times = scene.rng.randint(14, 40)
    scene.variant = "said" if seed % 2 else "seen"
    tool: Tool = scene.rng.choice(scene.box.reads)
    args, result = arguments(scene.rng, tool, scene.subject()), hexadecimal(scene.rng)

    def step(number: int) -> None:
        fields: Event = {}
        if number == 4:  # before it has gone on for five rounds
            run.context = 14_000
            fields = {"attributes": '{"context.compacted":true}'} if seed % 2 else {}
        run.think(**fields)
        run.call(tool, args, result=result)

    repeat(scene, run, [step], times)
    left(scene, run)
