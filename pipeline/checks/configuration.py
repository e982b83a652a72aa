"""What is configured: the settings without their secrets, the packages, limits, alert rules, routes, owners."""

from collections.abc import Iterator
from importlib import metadata

from pydantic import SecretStr

from alerts.routing.files import load_routes
from alerts.rules.files import SHIPPED, check_rules
from pipeline.checks.finding import Finding
from pipeline.limits import load_limits
from pipeline.owners import load_owners
from pipeline.settings import ReceiverSettings, Settings
from schemas.errors import AftermathError

PARTS = ("faust-streaming", "aiokafka", "confluent-kafka", "clickhouse-connect", "polars", "fastavro", "cramjam")
MASK = "****"


def settings_shown(settings: Settings) -> Iterator[Finding]:
    """Every setting: those that are not as they come first. Of a secret only that there is one."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    changed = {name: value for name, value in values.items() if value != Settings.model_fields[name].default}
    others = {name: value for name, value in values.items() if name not in changed}
    if changed:
        yield Finding("settings", "ok", ", ".join(f"{name}={shown(value)}" for name, value in changed.items()))
    yield Finding("defaults", "ok", ", ".join(f"{name}={shown(value)}" for name, value in others.items()))
    for sentence in settings.in_clear():
        yield Finding("in clear", "warn", sentence)


def shown(value: object) -> str:
    """A setting for people."""
    match value:
        case SecretStr():
            return MASK if value.get_secret_value() else "none"
        case ReceiverSettings():
            return value.kind
        case dict():
            return "{" + ", ".join(f"{name}: {shown(one)}" for name, one in value.items()) + "}"
        case None | "" | ():
            return "none"
        case tuple():
            return "+".join(map(str, value))
    return str(value)


def packages(_: Settings) -> Iterator[Finding]:
    """The libraries whose insides we use are those we know."""
    from pipeline.transport import self_test

    self_test()
    yield Finding("packages", "ok", ", ".join(f"{name} {metadata.version(name)}" for name in PARTS))


def limits(settings: Settings) -> Iterator[Finding]:
    """limits.yml can be read."""
    found = load_limits(settings.limits_file)
    where = str(settings.limits_file) if settings.limits_file else "no file: nothing is limited"
    yield Finding("limits", "ok", f"version {found.version}, {len(found.limits)} entries ({where})")


def rules(settings: Settings) -> Iterator[Finding]:
    """The alert rules are whole, and their tests pass."""
    folder = settings.rules_dir or SHIPPED
    faults = check_rules(folder)
    if faults:
        raise AftermathError(f"{len(faults)} findings, the first: {faults[0]}; see `aftermath rules check`.")
    yield Finding("alert rules", "ok", f"{len(list(folder.glob('*.yml')))} rules in {folder}, their tests pass")


def routes(settings: Settings) -> Iterator[Finding]:
    """routes.yml can be read, and names receivers that there are."""
    if settings.routes_file is None:
        yield Finding("routes", "ok", "no file: rules name their receivers, who are told at once")
        return
    found = load_routes(settings.routes_file, settings.receivers.keys())
    count = f"{len(list(found.root.walk()))} routes, {len(found.inhibit_rules)} inhibit rules"
    yield Finding("routes", "ok", f"{count} ({settings.routes_file})")


def owners(settings: Settings) -> Iterator[Finding]:
    """owners.yml can be read."""
    found = load_owners(settings.owners_file)
    where = str(settings.owners_file) if settings.owners_file else "no file: incidents have no team"
    yield Finding("owners", "ok", f"{len(found.owners)} entries ({where})")
