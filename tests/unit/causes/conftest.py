"""The failures that these tests ask about, played once for all who only ask."""

import pytest

from bench.quality_causes import incidents_of
from schemas.incidents import Incident
from tests.causes.failures import REPORTING, Failure, failure

CASES = 140  # twenty of each family; `python -m bench.quality_causes` runs 2,100


@pytest.fixture(scope="session")
def told() -> tuple[Failure, ...]:
    return tuple(failure(seed) for seed in REPORTING[:CASES])


@pytest.fixture(scope="session")
def played(told: tuple[Failure, ...]) -> dict[str, list[Incident]]:
    """Tenant -> its incidents about what failed, of the cases as they were told."""
    return incidents_of(told)
