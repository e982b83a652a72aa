"""The migrations for a cluster of replicas: the same files, rewritten as they are applied. Pure.

Every statement goes ON CLUSTER; tables become Replicated, found in Keeper by database and name; their window of known
insert tokens is the replicated one. One shard: rows of one tenant must meet on one server, and no Distributed table is
made. The checksum of a file is that of its text, so that it does not change with the setting.
"""

import re

from schemas.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
KINDS = (
    *("CREATE DATABASE IF NOT EXISTS", "CREATE TABLE IF NOT EXISTS", "ALTER TABLE"),
    *("CREATE VIEW IF NOT EXISTS", "CREATE OR REPLACE VIEW"),
)
HEAD = re.compile(rf"(?m)^({'|'.join(KINDS)}) (\w+)")
ENGINE = re.compile(r"(?m)^ENGINE = (\w*MergeTree)(?:\((\w*)\))?")
PLACE = "'/clickhouse/tables/{database}/{table}', '{replica}'"


def on_cluster(statement: str, cluster: str) -> str:
    """The statement for all servers of the cluster; as it is where there is none.

    Raises ConfigurationError for a name that is none, and for a statement of a kind that nobody has thought of here.
    """
    if not cluster:
        return statement
    if not NAME.fullmatch(cluster):
        raise ConfigurationError(f"AFTERMATH_CLICKHOUSE_CLUSTER {cluster[:40]!r} is not a plain name.")
    spread, heads = HEAD.subn(rf"\1 \2 ON CLUSTER '{cluster}'", statement)
    if heads != 1:
        raise ConfigurationError(f"This statement is not known to run on a cluster: {statement.strip()[:120]!r}.")
    spread = ENGINE.sub(_replicated, spread)
    return spread.replace("non_replicated_deduplication_window", "replicated_deduplication_window")


def _replicated(match: re.Match[str]) -> str:
    version = f", {match[2]}" if match[2] else ""
    return f"ENGINE = Replicated{match[1]}({PLACE}{version})"
