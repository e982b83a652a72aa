"""A loop: an agent that maps languages and cannot leave the `wp_head` hook alone.

After eight useful calls `seo-agent` writes the hook with one map of languages, is told what is wrong with it,
writes it with the other, is told what is wrong with that, and begins anew: A-B-A-B for twenty minutes. One
argument is new in every call, so no two calls are equal byte for byte; the answers are. Each model call
carries the whole context, nothing is cached, no `max_steps` is set. It ends because a person kills it.
"""

from typing import Any

from pipeline.demo.recorder import Event, Recorder, Session, seconds_later
from pipeline.demo.timeline import LOOP_FROM, LOOP_UNTIL, SEO_FROM
from schemas.signals import stable_hash
from schemas.times import MICROS

SCOPE = "site-12/wordpress"
HOOK = f"{SCOPE}/hook/wp_head"
AGENT_ID = "seo-agent"
AGENT_VERSION = "1.9.0"
SESSION_ID = "seo-2026-03-02-1401"
WRITE = "wp.hook.write"
VOLATILE_ARGUMENT = "request_id"

CYCLES = 59
PERIOD = 2
CALL_EVERY = (LOOP_UNTIL - LOOP_FROM) // (CYCLES * PERIOD) // 1000 * 1000  # to the millisecond
REPETITIONS = 5
# The context grows with every call; with the answers: ten million tokens after the first cycle.
FIRST_CONTEXT = 59_400
GROWTH = 437

USEFUL_CALLS: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("wp.languages.list", {"plugin": "polylang"}, f"{SCOPE}/plugin/polylang", "the site has nine languages"),
    (
        "wp.posts.list",
        {"status": "publish", "per_page": 100},
        f"{SCOPE}/posts/published",
        "612 published posts",
    ),
    ("wp.hook.read", {"hook": "wp_head"}, HOOK, "wp_head prints three hreflang tags"),
    ("lang.map", {"from": "pt"}, f"{SCOPE}/language/pt", "pt maps to pt-PT and pt-BR"),
    ("lang.map", {"from": "zh"}, f"{SCOPE}/language/zh", "zh maps to zh-Hans and zh-Hant"),
    ("lang.map", {"from": "es"}, f"{SCOPE}/language/es", "es maps to es-ES and es-419"),
    (
        "wp.sitemap.read",
        {"file": "sitemap-languages.xml"},
        f"{SCOPE}/sitemap/languages",
        "the sitemap has nine entries",
    ),
    ("seo.check", {"check": "hreflang"}, f"{SCOPE}/check/hreflang", "six languages have no hreflang tag"),
)
VARIANTS: tuple[tuple[dict[str, str], str, str], ...] = (
    (
        {"pt": "pt-PT", "zh": "zh-Hans", "es": "es-ES", "x-default": "en"},
        "hreflang check: pt-BR, zh-Hant and es-419 have no return tag",
        "The regional tags are missing. I will write wp_head with the regional map.",
    ),
    (
        {"pt": "pt-BR", "zh": "zh-Hant", "es": "es-419", "x-default": "en"},
        "hreflang check: pt-PT, zh-Hans and es-ES have no return tag",
        "The main tags are missing now. I will write wp_head with the main map.",
    ),
)


def looping(seed: int) -> list[Event]:
    """The whole session: useful calls, the loop, the end."""
    recorder = Recorder(seed, AGENT_ID)
    rng = recorder.rng
    session = Session(
        recorder,
        agent_id=AGENT_ID,
        agent_version=AGENT_VERSION,
        session_id=SESSION_ID,
        started_at=SEO_FROM,
        task_type="hreflang_repair",
        model="gpt-4.1",
        provider="openai",
        context_tokens=6_800,
        context_limit=200_000,
        requested_by="site-12-editor",
    )
    now = SEO_FROM + 300_000
    for name, args, target, found in USEFUL_CALLS:
        session.chat(now, 5.0, output_tokens=rng.randint(90, 180), says=f"Next: {name}.", grows_by=5_400)
        asked = seconds_later(now, 5.2)
        session.tool(asked, rng.uniform(0.4, 1.6), name, args, target=target, result={"found": found})
        now = seconds_later(now, rng.uniform(10.5, 12.0))
    for number in range(CYCLES * PERIOD):
        lang_map, finding, _ = VARIANTS[number % PERIOD]
        *_, says = VARIANTS[(number + 1) % PERIOD]
        now = LOOP_FROM + number * CALL_EVERY
        thinking = rng.uniform(6.2, 7.6)
        session.chat(
            now,
            thinking,
            input_tokens=FIRST_CONTEXT + number * GROWTH + rng.randint(-150, 150),
            cached_input_tokens=0,
            output_tokens=rng.randint(380, 520),
            says=says,
        )
        session.tool(
            seconds_later(now, thinking + 0.1),
            rng.uniform(0.9, 1.9),
            WRITE,
            {
                "hook": "wp_head",
                "lang_map": lang_map,
                VOLATILE_ARGUMENT: stable_hash(seed, SESSION_ID, number),
            },
            target=HOOK,
            result={"written": True, "check": finding},
            access="write",
            approval="not_required",
            summary=says,
        )
    session.close(
        LOOP_UNTIL + 2 * MICROS,
        status="error",
        error_type="killed",
        summary="Ended by site-12-editor; wp_head still fails its check.",
    )
    return recorder.events


def hook_writes(events: list[Event]) -> list[Event]:
    """The calls that repeat, in order."""
    return [event for event in events if event.get("tool_name") == WRITE and event.get("session_id") == SESSION_ID]


def fifth_repetition(events: list[Event]) -> int:
    """The event time of the end of the fifth whole cycle."""
    end: int = hook_writes(events)[REPETITIONS * PERIOD - 1]["event_time"]
    return end


def unplanned_tokens(events: list[Event]) -> int:
    """The tokens of the model calls after the first whole cycle: those of the redundant calls."""
    first_cycle = hook_writes(events)[PERIOD - 1]["event_time"]
    return sum(
        event["input_tokens"] + event["output_tokens"]
        for event in events
        if event.get("session_id") == SESSION_ID
        and event.get("operation") == "chat"
        and event["start_time"] > first_cycle
    )
