"""Unguarded change: an agent changes something without the care that its limits ask for.

One signal for each thing that was missing, at the change:
`governance.approval_denied`    it ran although its approval was denied
`governance.no_approval`        `needs_approval`, and it was not granted: not asked for, or asked for and not waited for
`governance.blind_write`        `needs_read_first`, and its target was not read before it in this session
`governance.no_summary`         `needs_summary`, and it does not say why
`governance.target_not_allowed` its target is none of `allowed_targets`
`governance.permission_change`  it changes who may do what, unapproved, and `may_change_permissions` does not allow it

An action that was refused or failed is none of these: nothing has changed. Where the session has read more than is
remembered, whether it read the target cannot be told, and nothing is said. What needs facts of the cluster (freezes,
changes by others, steps of a roll-out) is judged in careless_change.py.

memory  none: an action carries what its session had observed (pipeline/core/observed.py)
"""

import re
from functools import lru_cache
from typing import Any

import orjson

from pipeline.core.evidence import action_reference
from pipeline.core.limits import Limits, is_named
from pipeline.core.rows import Rows
from pipeline.core.sessions import Columns, SessionIndex
from schemas.resources import kind_of, name_of, scope_of
from schemas.signals import Action, Signal, compact_json, stable_hash

ASKED = ("needs_approval", "needs_read_first", "needs_summary", "allowed_targets")
# kinds of resources, and words in names of tools, that are about who may do what
PERMISSION_KINDS = frozenset(
    (
        "role", "rolebinding", "clusterrole", "clusterrolebinding", "serviceaccount", "iam", "iampolicy", "iamrole",
        "permission", "permissions", "acl", "grant", "accesspolicy", "accesskey", "entitlement",
    )
)  # fmt: skip
PERMISSION_WORDS = frozenset(("iam", "rbac", "grant", "permission", "permissions", "rolebinding", "acl"))
WORDS = re.compile(r"[a-z0-9]+")
Breach = tuple[str, str, str]  # last part of the type, what it shows, the gap


def fresh(index: SessionIndex) -> Columns:
    """An empty memory."""
    memory = Columns()
    index.attach(memory)
    return memory


def detect(rows: Rows, memory: Columns, limits: Limits) -> list[Signal]:
    """Judge the actions among these rows."""
    del memory
    is_asked = limits.states(*ASKED)
    signals = []
    for action in rows.actions:
        if action.status != "ok":
            continue
        found = [*_denied(action), *_permissions(action, limits)]
        if is_asked:
            found += _asked(action, limits)
        signals += [_signal(action, breach, rows.pane_size, limits) for breach in found]
    return signals


def _denied(action: Action) -> list[Breach]:
    if action.approval != "denied":
        return []
    gap = "approval: denied, the call ran all the same"
    return [("approval_denied", f"{_what(action)} ran although its approval was denied", gap)]


def _permissions(action: Action, limits: Limits) -> list[Breach]:
    is_about = _is_about_permissions(action.tool_name, action.target)
    if not is_about or action.approval == "granted" or _limit(limits, "may_change_permissions", action):
        return []
    gap = "permissions: changed by an agent, no approval granted"
    return [("permission_change", f"{_what(action)} changes who may do what, and nobody approved it", gap)]


@lru_cache(10_000)
def _is_about_permissions(tool: str | None, target: str | None) -> bool:
    return kind_of(target) in PERMISSION_KINDS or not PERMISSION_WORDS.isdisjoint(WORDS.findall((tool or "").lower()))


def _asked(action: Action, limits: Limits) -> list[Breach]:
    found = []
    if action.approval not in ("granted", "denied") and _limit(limits, "needs_approval", action):
        state = "requested" if action.approval == "requested" else "not asked for"
        shows = f"{_what(action)} needs an approval, which was {state}{', not granted' if state == 'requested' else ''}"
        found.append(("no_approval", shows, f"approval: {state}, not granted"))
    if action.target is not None and not action.has_lost_reads and _limit(limits, "needs_read_first", action):
        reads = [read for read in orjson.loads(action.observed) if read["target"] == action.target]
        if not any(read["ok"] for read in reads):
            how = "could not be read" if reads else "was not read"
            gap = "reconnaissance: target not read before the change"
            found.append(("blind_write", f"{_what(action)} ran, and its target {how} before it in this session", gap))
    if not (action.summary or "").strip() and _limit(limits, "needs_summary", action):
        found.append(("no_summary", f"{_what(action)} does not say why", "summary: none for a change that needs one"))
    allowed = _limit(limits, "allowed_targets", action)
    if allowed is not None and action.target is not None and not is_named(action.target, allowed):
        shows = f"{_what(action)} changes what this agent may not change: {action.target}"
        found.append(("target_not_allowed", shows, "allowed targets: this is none of them, nothing refused it"))
    return found


def _limit(limits: Limits, name: str, action: Action) -> Any:
    return limits.value(name, action.tenant, action.agent_id, action.tool_name, action.target, action.agent_version)


def _what(action: Action) -> str:
    on = f" on {name_of(action.target)}" if action.target else ""
    return f"{action.tool_name or action.operation}{on}"


def _signal(action: Action, breach: Breach, pane_size: int, limits: Limits) -> Signal:
    name, shows, gap = breach
    kind = f"governance.{name}"
    details = {"gap": gap, "approval": action.approval, "references": [action_reference(action, shows)]}
    return Signal(
        signal_id=stable_hash(action.tenant, action.session_id, kind, action.span_id),
        type=kind,
        tenant=action.tenant,
        scope=scope_of(action.target),
        agent_id=action.agent_id,
        agent_version=action.agent_version,
        session_id=action.session_id,
        root_session_id=action.root_session_id,
        resource=action.target,
        window_start=action.start_time,
        window_end=action.end_time,
        detected_at=action.end_time // pane_size * pane_size + pane_size,
        score=1.0,
        summary=shows,
        evidence=compact_json(details),
        rule_version=limits.rule_version,
    )
