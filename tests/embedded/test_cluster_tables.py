"""The migrations for a cluster of replicas: the engine makes every table of them as a replicated one.

With a Keeper in its own memory (`testkeeper`), on which the engine makes replicated tables but runs no queue: statements
ON CLUSTER, ALTER and INSERT there need servers. Their text is held in tests/unit/sinks/test_cluster.py.
"""

import json
import re
from pathlib import Path

import pytest

from sinks.clickhouse.cluster import on_cluster
from sinks.clickhouse.migrations import TABLE, load
from tests.embedded.engine_as import run

pytestmark = pytest.mark.embedded
CONFIGURATION = """<clickhouse>
<user_directories><users_xml><path>{path}</path></users_xml></user_directories>
<zookeeper><implementation>testkeeper</implementation></zookeeper>
<macros><replica>one</replica></macros>
<users><default><password></password><networks><ip>::/0</ip></networks><quota>default</quota><profile>default</profile></default></users>
<profiles><default/></profiles><quotas><default/></quotas></clickhouse>"""


def test_every_table_is_made_as_a_replicated_one_with_its_version_and_its_window(tmp_path: Path) -> None:
    statements = [TABLE, *(statement for migration in load() for statement in migration.statements)]
    tables = [statement for statement in statements if "CREATE TABLE" in statement]
    spread = [on_cluster(statement, "blue").replace(" ON CLUSTER 'blue'", "") for statement in tables]
    asked = "SELECT name, engine, engine_full FROM system.tables WHERE database = 'aftermath'"
    config = tmp_path / "keeper.xml"
    statements = ["CREATE DATABASE aftermath", "USE aftermath", *spread, asked]
    *made, found = run(CONFIGURATION.format(path=config), config, tmp_path / "files", statements)
    assert made == [""] * len(made)
    rows = [json.loads(line) for line in found.splitlines()]
    assert {row["engine"] for row in rows} == {"ReplicatedReplacingMergeTree"}
    assert len(rows) == len(tables)
    engines = {row["name"]: row["engine_full"] for row in rows}
    assert re.search(r"\('/clickhouse/tables/[^']+', '[^']+', revision\)", engines["incidents"])
    del engines["schema_migrations"]
    assert [name for name, text in engines.items() if "replicated_deduplication_window = 1000" not in text] == []
