"""The circuit breaker on a real Kafka: an agent that loops is paused by a rule, looked at, and let go on."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aftermath_client import AgentPaused, Guard

from pipeline.app import Pipeline
from pipeline.cli import main
from pipeline.clock import now_micros
from pipeline.settings import Settings
from pipeline.stages.control_log import give
from schemas.controls import Control, with_id
from schemas.times import MICROS, MINUTE
from sinks.clickhouse import migrations
from sinks.clickhouse.client import connect_as_set, connect_writer
from tests.services.clickhouse_server import RealClickHouse
from tests.services.kafka_server import RealKafka, fresh_topics

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
RULE = """\
id: looping
title: An agent is looping
when: {kind: feedback_loop}
mode: page
runbook: alerts/rules/README.md#feedback_loop
owner: on-call
action: {pause: 10m, mode: enforce}
"""
HOOK = "site-12/wordpress/hook/wp_head"
WAIT_SECONDS = 60.0
STEP_SECONDS = 0.2
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(
    real_kafka: RealKafka, real_clickhouse: RealClickHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Live topics, short panes, one rule that acts; the command finds the same by its environment."""
    monkeypatch.chdir(tmp_path)
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "looping.yml").write_text(RULE)
    database = f"guard_{uuid.uuid4().hex[:8]}"
    for name, value in {
        "KAFKA": real_kafka.bootstrap,
        "GROUP_PREFIX": f"guard-{uuid.uuid4().hex[:8]}",
        "CLICKHOUSE_URL": real_clickhouse.url,
        "CLICKHOUSE_USER": real_clickhouse.user,
        "CLICKHOUSE_PASSWORD": real_clickhouse.password,
        "CLICKHOUSE_DATABASE": database,
        "RULES_DIR": str(rules),
        "TENANT": "acme",
        "LATENESS_SECONDS": "2",
        "PANE_SECONDS": "1",
        "SESSION_TIMEOUT_SECONDS": "6",
        "COMMIT_INTERVAL_SECONDS": "0.1",
    }.items():
        monkeypatch.setenv(f"AFTERMATH_{name}", value)
    made = Settings()
    fresh_topics(made)
    migrations.migrate(connect_as_set(made))
    return made


def loop(guard: Guard, ends: list[int], session: str = "seo-1") -> AgentPaused:
    """Write the same hook again and again, until it is held; when each write ended is added to `ends`."""
    deadline = time.monotonic() + WAIT_SECONDS
    with guard.session(session):
        while time.monotonic() < deadline:
            try:
                with guard.chat("model-1") as call:
                    call.used(input_tokens=4_000, output_tokens=90)
                with guard.step("cms.write_hook", HOOK, "write", args={"hook": "wp_head"}) as step:
                    step.result("ok")
                ends.append(guard.now())
            except AgentPaused as error:
                return error
            time.sleep(STEP_SECONDS)  # an agent's pace
    raise AssertionError(f"nobody held it in {WAIT_SECONDS} s and {len(ends)} writes")


async def until(says: Callable[[], str], *wanted: str) -> str:
    """What is said once all of this stands in it."""
    end = asyncio.get_running_loop().time() + WAIT_SECONDS
    while True:
        said = await asyncio.to_thread(says)
        if all(text in said for text in wanted):
            return said
        assert asyncio.get_running_loop().time() < end, f"{wanted} is not said: {said}"
        await asyncio.sleep(0.2)


@asynccontextmanager
async def pipeline_behind(guard: Guard, settings: Settings) -> AsyncIterator[None]:
    """The stages that pause an agent, and its guard, until the end of the block; nothing may be left unsent."""
    pipeline = Pipeline(
        settings, ("detect", "correlate", "notify", "archive", "record"), writer=lambda: connect_writer(settings)
    )
    try:
        await pipeline.start()
        await pipeline.ready()
        assert await asyncio.to_thread(guard.ready, WAIT_SECONDS)
        yield
        pipeline.check()
    finally:
        left = await asyncio.to_thread(guard.close)
        await pipeline.stop(grace=10)
    assert left == 0


async def test_a_looping_agent_is_paused_by_a_rule_inspected_and_resumed(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*words: str) -> str:
        capsys.readouterr()
        assert main(list(words)) == 0
        return capsys.readouterr().out

    guard = Guard(settings.kafka, tenant="acme", agent_id="seo-agent", agent_version="7")
    async with pipeline_behind(guard, settings):
        ends: list[int] = []
        held = await asyncio.to_thread(loop, guard, ends)
        after = (guard.now() - ends[4]) / MICROS
        assert after <= 30, f"paused {after:.0f} s after its fifth repetition"
        assert held.author == "rule:looping"
        assert "seo-agent" in held.reason

        said = await until(
            lambda: command("control", "inspect", "seo-agent"),
            "paused for another", f"write       cms.write_hook on {HOOK}", "by rule:looping",
        )  # fmt: skip
        assert "open incidents\n  none" not in said
        incident = said.split("open incidents\n  ")[1].split(" ")[0]

        assert "goes on" in command("control", "resume", "seo-agent", "--why", "the hook is fixed", "--author", "mo")
        await until(lambda: "held" if guard.copy.controls else "free", "free")
        with guard.session("seo-2"), guard.step("cms.read_page", HOOK):
            pass
        story = await until(lambda: command("incidents", "timeline", incident), "paused for 10 min", "by user:mo")
        assert "seo-agent paused for 10 min by rule:looping: " in story
        assert "seo-agent resumed by user:mo: the hook is fixed" in story
        assert story.index("paused for 10 min") < story.index("resumed by")


async def test_a_loop_that_returns_while_the_agent_is_half_open_is_paused_again(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "rules" / "looping.yml").write_text(RULE.replace("10m", "30s"))
    guard = Guard(settings.kafka, tenant="acme", agent_id="seo-agent", agent_version="7")
    async with pipeline_behind(guard, settings):
        first = await asyncio.to_thread(loop, guard, [])
        assert first.until is not None
        end = time.monotonic() + WAIT_SECONDS
        while guard.now() < first.until:  # the pause itself
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        tried: list[int] = []
        again = await asyncio.to_thread(loop, guard, tried, "seo-2")
        assert again.until is not None
        assert len(tried) >= 5  # it was let try, and looped
        assert tried[-1] < first.until + 30 * MICROS  # and was held before the half open time was over
        assert (again.author, again.is_settling) == ("rule:looping", False)
        assert again.until > first.until


PROCESS = """\
import sys
from aftermath_client import AgentPaused, Guard, probes

probes.LEASE, probes.RENEW_EVERY = 4.0, 1.0  # else a test waits half a minute
name, kafka = sys.argv[1:]
with Guard(kafka, tenant="acme", agent_id="probed") as guard:
    assert guard.ready(60)
    print("ready", flush=True)
    session = None
    for line in sys.stdin:
        if line.strip() == "end":
            session.close()
            print("ended", flush=True)
            continue
        session = session or guard.session(name)
        try:
            with session.step("search"):
                print("tries", flush=True)
        except AgentPaused as error:
            print(f"held: {error}", flush=True)
"""


def test_half_open_one_session_of_three_processes_tries(settings: Settings) -> None:
    now = now_micros()
    control = Control(
        tenant="acme", agent_id="probed", action="pause", author="rule:looping", reason="loops", at=now - 20 * MINUTE,
        until=now - 1, probes=True,
    )  # fmt: skip
    give(settings.kafka_connection, [with_id(control)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, f"session-{number}", settings.kafka], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "client"}, cwd=ROOT,
        )
        for number in range(3)
    ]  # fmt: skip

    def tell(word: str, *numbers: int) -> list[str]:
        """All at once; what each answers."""
        pipes = [(processes[number].stdin, processes[number].stdout) for number in numbers]
        for into, _ in pipes:
            assert into is not None
            into.write(f"{word}\n")
            into.flush()
        return [out.readline().strip() for _, out in pipes if out is not None]

    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        said = tell("try", 0, 1, 2)
        first = said.index("tries")
        others = [number for number in range(3) if number != first]
        assert all("paused: another session is trying" in said[number] for number in others)
        assert tell("try", first) == ["tries"]
        assert tell("end", first) == ["ended"]
        end = time.monotonic() + WAIT_SECONDS
        while "tries" not in (said := tell("try", *others)):
            assert time.monotonic() < end, said
        assert sorted(text.split(":")[0] for text in said) == ["held", "tries"]
        second, third = sorted(others, key=lambda number: said[others.index(number)] != "tries")
        longer_than_a_lease = time.monotonic() + 6
        while time.monotonic() < longer_than_a_lease:  # the one that lives renews it
            tried, waits = tell("try", second, third)
            assert (tried, waits[:4]) == ("tries", "held")
            time.sleep(STEP_SECONDS)
        processes[second].kill()
        end = time.monotonic() + WAIT_SECONDS
        while tell("try", third) != ["tries"]:
            assert time.monotonic() < end, "what a dead process held is not free"
    finally:
        for process in processes:
            process.communicate(timeout=30)
    assert sorted(process.returncode for process in processes) == [-signal.SIGKILL, 0, 0]
