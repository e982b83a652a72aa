"""The rules of a folder: read, checked, tested. Every fault is listed at once, with file and line.

Order is the order of file names. A folder without a rule is a fault: it would mean that nobody is ever told.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alerts.rules.documents import Document, Fault, Place, read
from alerts.rules.model import Rule, RuleTest
from alerts.rules.samples import SOME_TIME, sample_incident
from schemas.errors import UsageError
from schemas.times import format_span

SHIPPED = Path(__file__).parent
STORY_BEGINS = SOME_TIME


class RuleFaultsError(UsageError):
    """The rules cannot be used. `faults` has one line for each reason: `file:line: what is wrong`."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(str(fault) for fault in faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n  ".join((f"correct {count} in the alert rules:", *self.faults)))


def load_rules(folder: Path) -> tuple[Rule, ...]:
    """The rules of this folder, by file name. Raises RuleFaultsError, a UsageError, with every fault."""
    loaded, faults = _load(folder)
    if faults:
        raise RuleFaultsError(faults)
    return tuple(rule for rule, _ in loaded)


def check_rules(folder: Path) -> list[str]:
    """Every fault of the folder and every test in its files that does not hold; empty where all is well."""
    loaded, faults = _load(folder)
    for rule, document in loaded:
        faults += _run_tests(rule, document)
    return [str(fault) for fault in sorted(faults, key=lambda fault: (fault.path, fault.line))]


def require_receivers(rules: Sequence[Rule], names: Collection[str] | None) -> None:
    """Raises UsageError where a rule names a receiver that is not configured: its pages would go nowhere.

    None: routes say who is told, and rules are not asked.
    """
    if names is None:
        return
    missing = [
        f"{rule.id}: {name}" for rule in rules for name in rule.receivers if rule.mode != "shadow" and name not in names
    ]
    if missing:
        known = ", ".join(sorted(names)) or "none"
        raise UsageError(f"configure the receivers that rules name ({'; '.join(missing)}); configured: {known}")


def _load(folder: Path) -> tuple[list[tuple[Rule, Document]], list[Fault]]:
    if not folder.is_dir():
        return [], [Fault(folder, 1, "not a folder; name the folder that holds the rule files")]
    loaded, faults = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".yaml", ".YML", ".YAML"):
            faults.append(Fault(path, 1, f"rename it to {path.stem}.yml; other endings are not read"))
        if path.suffix != ".yml" or path.name.startswith("."):
            continue
        document, found = read(path)
        faults += found
        if document is None:
            continue
        rule, found = _rule(document)
        faults += found
        if rule is not None:
            loaded.append((rule, document))
    if not loaded and not faults:
        faults.append(Fault(folder, 1, "no rule file (*.yml): nobody would ever be told"))
    return loaded, faults


def _rule(document: Document) -> tuple[Rule | None, list[Fault]]:
    if not isinstance(document.value, dict):
        return None, [document.fault((), "a rule is a mapping of fields: id, title, when, mode, runbook, owner, tests")]
    try:
        rule = Rule.model_validate(document.value)
    except ValidationError as error:
        return None, [document.fault(item["loc"], _words(item)) for item in error.errors(include_url=False)]
    if rule.id != document.path.stem:
        # file names are unique in a folder, so this also refuses two rules of one id
        return None, [document.fault(("id",), f"id {rule.id} must be the file's name; rename the file {rule.id}.yml")]
    return rule, []


def _words(item: Any) -> str:
    """What pydantic found, as a sentence that says what to do."""
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"{where} is missing; add it"
    if item["type"] == "extra_forbidden":
        allowed = (
            f"; a rule has {', '.join(info.alias or name for name, info in Rule.model_fields.items())}"
            if len(item["loc"]) == 1
            else ""
        )
        return f"{where} is not a field{allowed}"
    text = str(item["msg"]).removeprefix("Value error, ")
    return text if text.startswith(f"{item['loc'][-1]} ") else f"{where}: {text}"


def _run_tests(rule: Rule, document: Document) -> list[Fault]:
    faults = []
    for index, test in enumerate(rule.tests):
        faults += [document.fault(("tests", index, *place), text) for place, text in _test_faults(rule, test)]
    for fires, word in ((True, "fires"), (False, "stays quiet")):
        if rule.query is None and not any(test.is_loud is fires for test in rule.tests):
            faults.append(document.fault(("tests",), f"no test in which {rule.id} {word}; add one"))
    return faults


def _test_faults(rule: Rule, test: RuleTest) -> list[tuple[Place, str]]:
    if test.incident is None:
        return _story_faults(rule, test)
    try:
        incident = sample_incident(test.incident)
    except ValidationError as error:
        return [(("incident", *item["loc"]), f"test: {_words(item)}") for item in error.errors(include_url=False)]
    if rule.matches(incident) is not test.fires:
        failed = [name for name, condition in rule.when.items() if not condition.holds(incident)]
        why = f"{', '.join(failed)} did not hold" if failed else "every condition held"
        return [((), f"test: expected {rule.id} to {'fire' if test.fires else 'stay quiet'}, but {why}")]
    texts = rule.annotate(incident)
    return [
        (("annotations", name), f"test: {name} is {texts.get(name)!r}, not {expected!r}")
        for name, expected in test.annotations.items()
        if texts.get(name) != expected
    ]


def _story_faults(rule: Rule, test: RuleTest) -> list[tuple[Place, str]]:
    """Plays the revisions at their times, from one moment on, and compares all that is told."""
    from alerts.rehearsal import rehearse  # the outbox it needs imports this package

    revisions = []
    for number, part in enumerate(test.story):
        fixed = {"started_at": STORY_BEGINS + part.at, "revision": number}
        try:
            revisions.append(sample_incident(fixed | part.incident | {"updated_at": STORY_BEGINS + part.at}))
        except ValidationError as error:
            place: Place = ("story", number, "incident")
            return [((*place, *item["loc"]), f"test: {_words(item)}") for item in error.errors(include_url=False)]
    receiver = rule.destinations()[0]
    heard = [one for one in rehearse([rule], revisions) if one.receiver == receiver]
    found = [(one.at - STORY_BEGINS, one.transition, one.incident_id) for one in heard]
    expected = [(one.at, one.transition, one.incident_id) for one in test.alerts or ()]
    shown = ", ".join(f"{word} of {name} after {format_span(at)}" for at, word, name in found) or "nothing"
    fits = [have[:2] == want[:2] and want[2] in (None, have[2]) for have, want in zip(found, expected, strict=False)]
    if len(found) != len(expected) or not all(fits):
        return [(("alerts",), f"test: what is told is {shown}")]
    return []
