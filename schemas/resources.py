"""A resource is `cluster/namespace/kind/name`; its scope is the first two segments."""


def scope_of(resource: str | None) -> str | None:
    """`prod-eu/checkout` of `prod-eu/checkout/deployment/cart`; None where there is no resource or only one segment."""
    if not resource:
        return None
    parts = resource.split("/")
    return "/".join(parts[:2]) if len(parts) >= 2 else None


def cluster_of(resource: str | None) -> str | None:
    """`prod-eu` of `prod-eu/checkout/deployment/cart`."""
    return resource.split("/", 1)[0] if resource else None


def kind_of(resource: str | None) -> str | None:
    """`deployment` of `prod-eu/checkout/deployment/cart`."""
    parts = (resource or "").split("/")
    return parts[2] if len(parts) >= 4 else None


def name_of(resource: str | None) -> str:
    """`cart` of `prod-eu/checkout/deployment/cart`: what a person calls it."""
    parts = (resource or "").split("/", 3)
    return parts[3] if len(parts) == 4 else (resource or "")
