"""An operator's state as blobs and back: which classes may be in it, and which version of us wrote it.

Hashes in the state (which session, what was called) are polars' own: they hold within one version of polars, so a
snapshot of another is not used; the stage then reads its log from further back.
"""

from typing import Any, Protocol

import polars as pl

from pipeline.core.baseline import Usual
from pipeline.core.loops import Totals
from pipeline.core.plain import StateError, Written, decode, encode
from pipeline.core.rings import Ring
from pipeline.core.runs import Loop, Run, Seen
from pipeline.core.sameness import Call
from pipeline.core.seasons import Season
from pipeline.core.undone import Undone
from pipeline.core.watch import Watch
from pipeline.correlation.agreement import Noise
from pipeline.correlation.board import Board
from pipeline.correlation.case import Case
from pipeline.correlation.facts import Ledger
from pipeline.correlation.life import Problem
from pipeline.correlation.sources import Sources
from pipeline.correlation.topology import Topology
from pipeline.correlation.watches import Symptom, Watches
from pipeline.detectors.budget_burn import Burn
from pipeline.detectors.context_overload import Fill
from pipeline.detectors.hand_off import Delegation, Trail
from pipeline.detectors.kubernetes import Said
from pipeline.detectors.monologue import Monologue
from pipeline.detectors.refused_calls import Refusals
from pipeline.detectors.repeated_run import Failing
from pipeline.detectors.restarted_run import Streak
from pipeline.detectors.silence import Pulse
from pipeline.detectors.stuck_tool import Times
from pipeline.detectors.token_spike import Spending
from pipeline.detectors.unmatched_change import Shown
from pipeline.detectors.version_regression import Version, Versions
from pipeline.operators.correlate import Ahead, Silence
from pipeline.operators.forgotten import Forgotten
from schemas.incidents import Evidence, Incident, Transition
from schemas.signals import Action, Fact, Heard, Signal, Usage

FORMAT = 15  # grows with every change of what is saved
CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        Action, Ahead, Board, Burn, Call, Case, Delegation, Evidence, Fact, Failing, Fill, Forgotten, Heard, Incident,
        Ledger, Loop, Monologue, Noise, Problem, Pulse, Refusals, Ring, Run, Said, Season, Seen, Shown, Signal, Silence,
        Sources, Spending, Streak, Symptom, Times, Topology, Totals, Trail, Transition, Undone, Usage, Usual, Version,
        Versions, Watch, Watches,
    )
}  # fmt: skip


class Operator(Protocol):
    """DetectOperator or CorrelateOperator."""

    def saved(self) -> Any:
        """The whole state."""

    def restore(self, saved: Any) -> None:
        """The other way, into an operator that has read nothing yet."""


def version() -> str:
    """What must be equal for a snapshot to be used."""
    return f"{FORMAT}/polars-{pl.__version__}"


def dump(operator: Operator, written: Written | None = None) -> list[bytes]:
    """The state as blobs. written: of the last time (pipeline/core/plain.py)."""
    return encode({"version": version(), "state": operator.saved()}, CLASSES, written)


def load(operator: Operator, blobs: list[bytes]) -> None:
    """Restore what was dumped. Raises StateError that says why it cannot be used."""
    found = decode(blobs, CLASSES)
    if not isinstance(found, dict) or found.get("version") != version():
        wrote = found.get("version") if isinstance(found, dict) else None
        raise StateError(f"the snapshot was written by version {wrote}, this is {version()}; it is left aside")
    try:
        operator.restore(found["state"])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise StateError(
            f"the snapshot has another form ({type(error).__name__}: {error}); it is left aside"
        ) from error
