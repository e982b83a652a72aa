"""The ClickHouse that other tests trust, and what only a server can show: users that see what they were granted."""

import uuid
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from schemas.errors import AftermathError
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client
from sinks.clickhouse.errors import ClickHouseError
from tests.compose.compose_file import ROOT, services
from tests.services import clickhouse_server
from tests.services.clickhouse_server import IMAGE, NoClickHouseError, RealClickHouse, given

pytestmark = [pytest.mark.services]
READER = ROOT / "deploy" / "clickhouse" / "reader.xml"
ROLES = ROOT / "deploy" / "clickhouse" / "roles.sql"


@pytest.fixture
def migrated(real_clickhouse: RealClickHouse) -> Iterator[Client]:
    client = real_clickhouse.connect(f"d_{uuid.uuid4().hex[:12]}")
    migrations.migrate(client)
    yield client
    client.command(f"DROP DATABASE {client.database}", use_database=False)
    client.close()


@pytest.fixture
def reader(real_clickhouse: RealClickHouse, migrated: Client) -> Iterator[Client]:
    """A user with what deploy/clickhouse/reader.xml grants, for the database of the test."""
    name, password = f"u_{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    (grant,) = (node.text or "" for node in ElementTree.parse(READER).iterfind("users/grafana/grants/query"))
    migrated.command(f"CREATE USER {name} IDENTIFIED BY '{password}' SETTINGS readonly = 2")
    migrated.command(f"{grant.replace('aftermath.', migrated.database + '.')} TO {name}")
    client = real_clickhouse.connect(migrated.database, name, password)
    yield client
    client.close()
    migrated.command(f"DROP USER {name}")


def incident(client: Client, tenant: str) -> None:
    client.command(f"INSERT INTO incidents (tenant, incident_id) VALUES ('{tenant}', '{tenant}-1')")


def test_all_migrations_apply(migrated: Client) -> None:
    assert migrations.check(migrated) == []
    assert migrated.query("SELECT * FROM open_incidents") == []


@pytest.mark.needs_server
def test_a_reader_reads_and_changes_nothing(migrated: Client, reader: Client) -> None:
    incident(migrated, "acme")
    assert [row["tenant"] for row in reader.query("SELECT tenant FROM incidents")] == ["acme"]
    for sql in (
        "INSERT INTO incidents (tenant, incident_id) VALUES ('acme', 'x')",
        "TRUNCATE TABLE incidents",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
        "SELECT * FROM file('/etc/passwd', LineAsString)",
    ):
        with pytest.raises(ClickHouseError):
            reader.command(sql)
    assert [row["tenant"] for row in reader.query("SELECT tenant FROM incidents")] == ["acme"]


@pytest.mark.needs_server
def test_a_row_policy_hides_the_rows_of_another_tenant_in_tables_and_views(migrated: Client, reader: Client) -> None:
    for tenant in ("acme", "rival"):
        incident(migrated, tenant)
    (found,) = reader.query("SELECT currentUser() AS name")
    for table in ("incidents", "incident_revisions", "incident_timeline"):
        migrated.command(
            f"CREATE ROW POLICY acme_only ON {migrated.database}.{table} USING tenant = 'acme' TO {found['name']}"
        )
        everybody = f"CREATE ROW POLICY the_rest ON {migrated.database}.{table} USING 1 TO ALL EXCEPT {found['name']}"
        migrated.command(everybody)
    assert {row["tenant"] for row in reader.query("SELECT tenant FROM incidents")} == {"acme"}
    assert {row["tenant"] for row in migrated.query("SELECT tenant FROM incidents")} == {"acme", "rival"}
    # a view without SQL SECURITY runs with the rights of whoever asks, so the policy holds inside it
    assert {row["tenant"] for row in reader.query("SELECT tenant FROM incidents_current")} == {"acme"}


@pytest.mark.needs_server
def test_the_roles_let_a_tenant_read_its_own_and_stages_write(
    real_clickhouse: RealClickHouse, migrated: Client
) -> None:
    mine = f"r_{uuid.uuid4().hex[:8]}_"
    text = ROLES.read_text().replace("aftermath.", f"{migrated.database}.").replace("aftermath_", mine)
    for _ in range(2):
        for statement in migrations.Migration(1, ROLES.name, text).statements:
            migrated.command(statement)
    for tenant in ("acme", "rival"):
        incident(migrated, tenant)
    password = uuid.uuid4().hex
    for user, role in (("of_acme", "analyst_of_acme"), ("analyst", "analyst"), ("stages", "writer")):
        profile = "" if user == "stages" else f" SETTINGS PROFILE {mine}analyst"
        migrated.command(f"CREATE USER {mine}u_{user} IDENTIFIED BY '{password}' DEFAULT ROLE {mine}{role}{profile}")
    of_acme, analyst, stages = (
        real_clickhouse.connect(migrated.database, f"{mine}u_{user}", password)
        for user in ("of_acme", "analyst", "stages")
    )
    seen = "SELECT DISTINCT tenant FROM incidents_current ORDER BY tenant"
    assert [row["tenant"] for row in of_acme.query(seen)] == ["acme"]
    assert [row["tenant"] for row in analyst.query(seen)] == ["acme", "rival"]
    incident(stages, "rival")
    for client in (of_acme, analyst):
        with pytest.raises(ClickHouseError):
            incident(client, "acme")
    with pytest.raises(ClickHouseError):
        of_acme.query("SELECT * FROM dead_letters")
    with pytest.raises(ClickHouseError):
        stages.command("DROP TABLE incidents")


def test_an_address_is_read_with_its_user_and_password() -> None:
    found = given("https://u%40x:p%3Aw@db.example:8444")
    assert (found.url, found.user, found.password) == ("https://db.example:8444", "u@x", "p:w")
    assert "p:w" not in repr(found) + found.says
    assert given("http://db.example").url == "http://db.example:8123"
    with pytest.raises(NoClickHouseError, match="must be http://user:password@host:port"):
        given("db.example:8123")


def test_an_address_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse_server, "READY_SECONDS", 0.2)
    with pytest.raises(NoClickHouseError, match="does not answer"):
        given("http://127.0.0.1:1").wait_until_it_answers()
    assert issubclass(ClickHouseError, AftermathError)


def test_docker_runs_the_image_of_the_compose_file() -> None:
    assert services()["clickhouse"]["image"] == IMAGE
    container = clickhouse_server.container_of(given("http://u:p@127.0.0.1:8123"), 1234)
    assert (container.image, container.ports) == (IMAGE, {8123: 1234})
    assert (container.environment["CLICKHOUSE_USER"], container.environment["CLICKHOUSE_PASSWORD"]) == ("u", "p")
