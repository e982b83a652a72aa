"""Owners: which team an incident belongs to, so that nobody has to argue at night. Declared in `owners.yml`.

    owners:
      - {team: platform}                                   # everything, unless a later entry says otherwise
      - {team: checkout, scope: "prod-*/checkout"}         # shell patterns
      - {team: growth, agent_id: seo-*, tenant: acme}

The last entry that covers an incident says its team: write the general first. An entry that names a scope or an agent
says nothing of incidents without one.
"""

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from schemas.incidents import Incident

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Team = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\r\n]+$")]


class Owner(BaseModel):
    """One entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    team: Team
    tenant: Pattern = "*"
    scope: Pattern = "*"
    agent_id: Pattern = "*"

    def covers(self, incident: Incident) -> bool:
        """Whether all patterns match."""
        return all(
            pattern == "*" or (value is not None and fnmatchcase(value, pattern))
            for pattern, value in (
                (self.tenant, incident.tenant),
                (self.scope, incident.scope),
                (self.agent_id, incident.agent_id),
            )
        )


class Owners(BaseModel):
    """The whole file; without entries nothing is owned."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    owners: tuple[Owner, ...] = ()

    def owned(self, incident: Incident) -> Incident:
        """The incident with its team; as it is where no entry covers it."""
        teams = [entry.team for entry in self.owners if entry.covers(incident)]
        return incident.model_copy(update={"owner": teams[-1]}) if teams else incident
