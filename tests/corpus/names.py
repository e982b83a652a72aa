"""Names and tools, one pool for what is wrong and what is healthy: a name must not say which it is.

Every trajectory draws its agents, its kind of work and the tools it uses from here, whatever its family. So a status
tool is polled in one trajectory and loops in another, and the tool that waits stands in both.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

AGENTS = tuple(
    f"{what}-{who}"
    for what in (
        "billing", "support", "catalog", "release", "search", "data", "infra", "docs", "growth", "fraud", "mail",
        "stock", "price", "review", "security", "report", "onboard", "legal", "media", "quality",
    )
    for who in ("agent", "worker", "assistant", "bot", "crew")
)  # fmt: skip
MODELS = (("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5"), ("google", "gemini-2.5-pro"), ("mistral", "large-3"))
TASKS = ("coding", "triage", "migration", "research", "maintenance", "support", "reporting")
WORDS = (
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "ivory", "jasper", "krill", "lotus",
    "maple", "nectar", "onyx", "pearl", "quartz", "raven", "sable", "tulip", "umber", "violet", "willow", "yarrow",
    "zephyr", "arbor", "birch", "coral", "dune", "elm", "flint", "garnet", "hazel", "iris", "juniper", "kelp",
)  # fmt: skip
SYNONYMS = (
    ("find", "search for", "look up", "locate", "get"),
    ("latest", "newest", "most recent", "current", "last"),
    ("settings", "configuration", "options", "config", "preferences"),
    ("of", "for", "about", "on", "in"),
)


@dataclass(frozen=True, slots=True)
class Tool:
    """subject: the name of the argument that says what the tool is used on."""

    name: str
    access: str | None
    subject: str


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one kind of work. `has_targets`: subjects are resources, and calls name them as their target."""

    reads: tuple[Tool, ...]
    writes: tuple[Tool, ...]
    name_subject: Callable[[random.Random], str]
    has_targets: bool


WAIT = Tool("wait", "read", "reason")


def hexadecimal(rng: random.Random, digits: int = 16) -> str:
    """An id that says nothing."""
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def word(rng: random.Random) -> str:
    """Two words and a number: rarely the same twice."""
    return f"{rng.choice(WORDS)}-{rng.choice(WORDS)}-{rng.randrange(1000)}"


def _file(rng: random.Random) -> str:
    return f"src/{rng.choice(WORDS)}/{word(rng)}.{rng.choice(('py', 'ts', 'go', 'md'))}"


def _page(rng: random.Random) -> str:
    return f"https://{rng.choice(WORDS)}.example/{rng.choice(WORDS)}/{word(rng)}"


def resource(rng: random.Random, kind: str = "deployment") -> str:
    """`cluster/namespace/kind/name`."""
    return f"prod-{rng.choice(('eu', 'us', 'ap'))}/{rng.choice(WORDS)}/{kind}/{word(rng)}"


def _table(rng: random.Random) -> str:
    return f"{rng.choice(WORDS)}.{word(rng).replace('-', '_')}"


def _ticket(rng: random.Random) -> str:
    return f"{rng.choice(WORDS).upper()[:4]}-{rng.randrange(100, 99999)}"


TOOLBOXES = (
    Toolbox(
        (Tool("read_file", "read", "path"), Tool("grep", "read", "path"), Tool("git_status", "read", "path")),
        (Tool("edit_file", "write", "path"), Tool("run_command", "write", "path"), Tool("write_file", "write", "path")),
        _file,
        has_targets=False,
    ),
    Toolbox(
        (Tool("open_page", "read", "url"), Tool("scroll_page", "read", "url"), Tool("web_search", "read", "url")),
        (Tool("submit_form", "write", "url"), Tool("click", "write", "url"), Tool("upload", "write", "url")),
        _page,
        has_targets=False,
    ),
    Toolbox(
        (Tool("get_resource", "read", "name"), Tool("get_logs", "read", "name"), Tool("describe", "read", "name")),
        (Tool("apply_change", "write", "name"), Tool("patch", "write", "name"), Tool("annotate", "write", "name")),
        resource,
        has_targets=True,
    ),
    Toolbox(
        (Tool("run_query", "read", "table"), Tool("job_status", "read", "table"), Tool("sample_rows", "read", "table")),
        (Tool("load_rows", "write", "table"), Tool("refresh", "write", "table"), Tool("tag_column", "write", "table")),
        _table,
        has_targets=False,
    ),
    Toolbox(
        (Tool("get_ticket", "read", "id"), Tool("list_comments", "read", "id"), Tool("find_user", "read", "id")),
        (Tool("comment", "write", "id"), Tool("set_status", "write", "id"), Tool("send_mail", "write", "id")),
        _ticket,
        has_targets=False,
    ),
)
OPERATIONS = TOOLBOXES[2]  # work on resources: what limits and facts of a cluster are about


def arguments(rng: random.Random, tool: Tool, subject: str) -> dict[str, Any]:
    """Arguments of a call: what it is about, and a few that calls of any kind have."""
    given: dict[str, Any] = {tool.subject: subject}
    if tool.access == "write":
        given["content"] = f"{word(rng)} {word(rng)}"
    if rng.random() < 0.5:
        given["limit"] = rng.choice((10, 50, 100, 200))
    if rng.random() < 0.3:
        given["is_verbose"] = rng.random() < 0.5
    return given


def paraphrase(rng: random.Random, subject: str) -> str:
    """The same question about a subject in other words."""
    words = " ".join(rng.choice(choices) for choices in SYNONYMS)
    return f"{words} {subject}" if rng.random() < 0.5 else f"{subject}: {words}".removesuffix(" of")
