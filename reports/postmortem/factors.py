"""Why a candidate is the cause or is ruled out, in words: each factor of its weight as what it says of the change.

The numbers themselves are for machines (`attribution` of the incident, the live page); a reader gets their meaning, and
the lag with its number, which the sentence gives before.
"""

from collections.abc import Mapping

WEAK = 0.5  # up to it a factor speaks against the candidate
EARLY = 0.25  # of the lag: what came within some three quarters of the usual time is not early
AGAINST = {
    "distance": "nothing we know of leads from it to what failed first",
    "coverage": "it reaches little of what failed",
    "own": "what it changed shows no symptom itself",
    "lag": "it came earlier than is usual for an effect of this kind",
    "dose": "it hardly changed anything",
    "actor": "a controller did it, set off by something else",
    "outcome": "the call failed",
    "kind": "it changed a document or a ticket, not what runs",
}
FAR = 0.05  # distance: the same cluster at most
FAR_OFF = "it has no more in common with what failed first than the cluster"
FOR = {
    "distance": "it is on, or next to, what failed first",
    "coverage": "it reaches most of what failed",
    "own": "what it changed shows a symptom itself",
    "lag": "it came just before",
}
STRONG = 0.8


def against(found: Mapping[str, float]) -> str:
    """What speaks against it, the strongest first; empty where nothing does."""
    weak = sorted(
        (value, name)
        for name, value in found.items()
        if name in AGAINST and value <= (EARLY if name == "lag" else WEAK)
    )
    return "; ".join(FAR_OFF if name == "distance" and value < FAR else AGAINST[name] for value, name in weak)


def in_favour(found: Mapping[str, float]) -> str:
    """What speaks for it, in the order of the factors; empty where nothing does."""
    return "; ".join(text for name, text in FOR.items() if found.get(name, 0.0) >= STRONG)
