"""Coding and web agents as their bug reports describe them: what repeats though its text changes, and what only seems to.

Wrong: an edit whose old text is guessed anew and never found, looked up between or not; a command that is tried with
ever other options and fails each time. Healthy: the same outward signs while work goes on.
"""

from tests.corpus.names import Tool, hexadecimal, word
from tests.corpus.telling import NEW, Run, Scene
from tests.corpus.truth import Event

EDIT = Tool("str_replace", "write", "path")
SHELL = Tool("run_command", "write", "command")
VIEW = Tool("read_file", "read", "path")
SCROLL = Tool("scroll_page", "read", "direction")
CLICK = Tool("click", "write", "ref")
SNAPSHOT = Tool("snapshot", "read", "page")


def begun(scene: Scene) -> tuple[Run, str]:
    """A run that has done some ordinary work, and what it works on from here."""
    run = Run(scene, pace=scene.rng.choice((1.0, 1.0, 4.0)))
    run.work(scene.rng.randint(2, 8))
    return run, scene.subject()


def failed_edits(scene: Scene, seed: int) -> None:
    """An edit that never finds its old text, which is written from memory each time; one in two looks between."""
    run, path = begun(scene)
    looks = seed % 2 == 1
    scene.variant = "looks between" if looks else "edits only"
    content = hexadecimal(scene.rng)
    for number in range(scene.rng.randint(13, 30)):
        if number == 1:
            scene.begins(run.now)
        if looks and scene.rng.random() < 0.7:
            run.think()
            run.call(VIEW, {"path": path}, result=content)
        run.think()
        args = {"path": path, "old": f"{word(scene.rng)} {number}", "new": word(scene.rng)}
        run.call(EDIT, args, result=None, status="error", error_type="no_match")


def other_options(scene: Scene, _: int) -> None:
    """A command that fails, whatever options it is given."""
    run, path = begun(scene)
    for number in range(scene.rng.randint(13, 30)):
        if number == 1:
            scene.begins(run.now)
        if scene.rng.random() < 0.2:
            run.read()
        run.think()
        command = {"command": f"check {path} --{word(scene.rng)} -j {scene.rng.randint(1, 16)}"}
        run.call(SHELL, command, result=None, status="error", error_type=scene.rng.choice(("exit_1", "exit_2")))


def back_and_forth(scene: Scene, _: int) -> None:
    """Two edits that undo each other, each answered the same, and a test between that answers something new."""
    run, path = begun(scene)
    done, ways = hexadecimal(scene.rng), (word(scene.rng), word(scene.rng))
    target = path if scene.box.has_targets else None
    for number in range(scene.rng.randint(13, 24)):
        if number == 2:
            scene.begins(run.now)
        run.think()
        args = {"path": path, "old": ways[number % 2], "new": ways[1 - number % 2]}
        run.call(EDIT, args, result=done, target=target)
        for _ in range(scene.rng.randint(0, 2)):
            run.read()
        run.think()
        run.call(SHELL, {"command": f"check {path}"}, result=NEW, target=None)


def pages_on(scene: Scene, seed: int) -> None:
    """The same "next" again and again, nothing between, and another page each time."""
    run, _ = begun(scene)
    tool = (CLICK, Tool("browser", "write", "ref"))[seed % 2]
    args = {"ref": f"e{scene.rng.randint(10, 99)}", "element": "next", "action": "click"}
    for _ in range(scene.rng.randint(12, 30)):
        run.think()
        run.call(tool, args, result=NEW)
    run.work(3)


def other_way_once_more(scene: Scene, _: int) -> None:
    """An edit is taken back and made again, a few times in a session, as one who looks for a fault does."""
    run, path = begun(scene)
    done = hexadecimal(scene.rng)
    for _ in range(4):
        ways = (word(scene.rng), word(scene.rng))
        for number in range(scene.rng.randint(2, 6)):
            run.think()
            args = {"path": path, "old": ways[number % 2], "new": ways[1 - number % 2]}
            run.call(EDIT, args, result=done)
            run.think()
            run.call(SHELL, {"command": f"check {path}", "cwd": "/app"}, result=NEW)
        run.work(2)


def two_commands_in_turn(scene: Scene, _: int) -> None:
    """Two commands in the same place, one after the other, while what they answer changes."""
    run, path = begun(scene)
    for number in range(scene.rng.randint(14, 30)):
        run.think()
        run.call(SHELL, {"command": f"{('check', 'status')[number % 2]} {path}", "cwd": "/app"}, result=NEW)
    run.work(2)


def edits_of_one_file(scene: Scene, seed: int) -> None:
    """One edit after the other of one file, or of two in turn, each answered the same; no test between."""
    run, path = begun(scene)
    paths, done = (path, scene.subject() if seed % 2 else path), hexadecimal(scene.rng)
    scene.variant = "two files" if seed % 2 else "one file"
    tool = Tool(EDIT.name, ("write", None)[seed // 2 % 2], EDIT.subject)
    for number in range(scene.rng.randint(12, 30)):
        run.think()
        target = paths[number % 2] if scene.box.has_targets else None
        args = {"path": paths[number % 2], "old": word(scene.rng), "new": word(scene.rng)}
        run.call(tool, args, result=done, target=target)
    run.work(3)


def scrolls_on(scene: Scene, seed: int) -> None:
    """Down a long page, or a long file: the call is the same; the answer is another, or is not sent."""
    run, _ = begun(scene)
    scene.variant = "no answers" if seed % 2 else "answers"
    args: Event = {} if seed % 2 else {"direction": "down"}
    for _ in range(scene.rng.randint(8, 30)):
        run.think()
        run.call(SCROLL, args, result=None if seed % 2 else NEW)
    run.work(3)


def clicks_and_looks(scene: Scene, _: int) -> None:
    """The same click, answered "ok", and a look at the page, which is another every time."""
    run, _ = begun(scene)
    ref, done = f"e{scene.rng.randint(10, 99)}", hexadecimal(scene.rng)
    for _ in range(scene.rng.randint(12, 30)):
        run.think()
        run.call(CLICK, {"ref": ref, "element": "next"}, result=done)
        run.think()
        run.call(SNAPSHOT, {"page": 0}, result=NEW)
    run.work(3)


def waits_in_the_shell(scene: Scene, _: int) -> None:
    """A job is polled by a command that sleeps first; what a shell does is a write to those who do not read it."""
    run, path = begun(scene)
    seconds, pending = scene.rng.choice((20, 30, 60)), hexadecimal(scene.rng)
    for _ in range(scene.rng.randint(8, 20)):
        run.think()
        command = {"command": f"sleep {seconds} && job status {path}"}
        run.call(SHELL, command, result=pending, seconds=seconds + scene.rng.uniform(0.2, 1.2))
    run.work(3)


def dead_links(scene: Scene, _: int) -> None:
    """A list of things is gone through, and many are not there."""
    run, _ = begun(scene)
    for _ in range(scene.rng.randint(14, 40)):
        run.think()
        run.call(VIEW, {"path": scene.subject(), "limit": 200}, result=None, status="error", error_type="not_found")
    run.work(2)


def finds_the_option(scene: Scene, _: int) -> None:
    """A command is tried with other options until one works, a few times in a session."""
    rng = scene.rng
    run, path = begun(scene)
    for _ in range(3):
        for fails in range(rng.randint(2, 7), -1, -1):
            run.think()
            fields: Event = {"result": None, "status": "error", "error_type": "exit_2"} if fails else {}
            run.call(SHELL, {"command": f"check {path} --{word(rng)}"}, **fields)
        run.work(2)


def red_for_long(scene: Scene, _: int) -> None:
    """A test that fails ten times and more while the code under it is read and changed."""
    rng = scene.rng
    run, path = begun(scene)
    written = hexadecimal(rng)
    for _ in range(rng.randint(10, 18)):
        for _ in range(rng.randint(0, 2)):
            run.read()
        run.think()
        run.call(EDIT, {"path": path, "old": word(rng), "new": word(rng)}, result=written)
        run.think()
        command = {"command": f"check {path} -k {word(rng)}"}
        run.call(SHELL, command, result=None, status="error", error_type="exit_1")
    run.work(2)
