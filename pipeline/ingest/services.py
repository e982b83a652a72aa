"""Who sent telemetry: what the resource and the scope say of all that comes with them, worked out once for each."""

from dataclasses import dataclass
from typing import Final

import orjson

from pipeline.ingest.declared import is_declared
from pipeline.ingest.kept import FRAGMENT_LENGTH, dumped, shortened
from pipeline.ingest.telemetry import Attributes, Origin
from pipeline.ingest.values import name_of

DEFAULT_TENANT: Final = "default"
TENANT_NAMES: Final = ("aftermath.tenant", "tenant.id", "tenant")
UNKNOWN_SERVICE: Final = "unknown_service"  # what SDKs call a service without a name


@dataclass(slots=True)
class Service:
    """What the resource says of all its spans."""

    name: str | None
    version: str | None
    tenant: str
    declares: Attributes
    json: orjson.Fragment
    scope: str
    end: str  # of the JSON that is kept of a span: what both say


def service_of(origin: Origin, default_tenant: str) -> Service:
    """Worked out once for all spans of an origin."""
    known: Service | None = origin.cache.get("service")
    if known is None:
        resource = origin.resource
        name = name_of(resource.get("service.name"))
        text = dumped(shortened(resource))
        scope = f"{origin.scope}@{origin.scope_version}" if origin.scope_version else origin.scope
        whole = orjson.Fragment(text if len(text) <= FRAGMENT_LENGTH else "{}")
        known = origin.cache["service"] = Service(
            name=None if name is None or name.startswith(UNKNOWN_SERVICE) else name,
            version=name_of(resource.get("service.version")),
            tenant=next((found for key in TENANT_NAMES if (found := name_of(resource.get(key)))), default_tenant),
            declares={key: value for key, value in resource.items() if is_declared(key)},
            json=whole,
            scope=scope,
            end="," + dumped({"resource": whole, "scope": scope})[1:],
        )
    return known


def tenant_of(origin: Origin, default_tenant: str) -> str:
    """The tenant that a resource names."""
    return service_of(origin, default_tenant).tenant
