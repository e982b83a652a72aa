"""The embedded database speaks ClickHouse's HTTP interface: to the usual client, to plain HTTP, and to nobody else."""

import gzip
import http.client
import json
import os
import re
import socket
import stat
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import clickhouse_connect
import cramjam
import pytest
import zstandard
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.embedded import Database, embedded_database, read_connection_file, write_connection_file
from pipeline.embedded.connection_file import remove_connection_file
from schemas.errors import UsageError

pytestmark = pytest.mark.embedded


def ask(
    database: Database,
    sql: str | bytes = b"",
    parameters: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    path: str = "/",
    user: str = "default",
    method: str = "POST",
) -> tuple[int, str, Mapping[str, str]]:
    """As curl would: status, body, headers."""
    password = {"default": database.password, "analyst": database.analyst_password}.get(user, "")
    wanted = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password} | dict(headers or {})
    url = database.url + path + (f"?{urllib.parse.urlencode(parameters)}" if parameters else "")
    body = (sql.encode() if isinstance(sql, str) else sql) if method == "POST" else None
    request = urllib.request.Request(url, body, wanted, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


@pytest.fixture
def table(clickhouse: Database) -> Iterator[str]:
    """A table of its own for a test: (x Int64, s String)."""
    name = f"t_{uuid.uuid4().hex}"
    sql = f"CREATE TABLE {name} (x Int64, s String DEFAULT 'none') ENGINE = MergeTree ORDER BY x"
    assert ask(clickhouse, f"{sql} SETTINGS non_replicated_deduplication_window = 100")[0] == 200
    yield name
    ask(clickhouse, f"DROP TABLE {name}")


def rows(database: Database, table: str) -> list[list[object]]:
    text = ask(database, f"SELECT x, s FROM {table} ORDER BY x FORMAT JSONCompactEachRow")[1]
    return [json.loads(line) for line in text.splitlines()]


def test_ping_needs_no_password(clickhouse: Database) -> None:
    assert ask(clickhouse, path="/ping", method="GET", user="nobody")[:2] == (200, "Ok.\n")


def test_the_usual_client_reads_and_writes(clickhouse: Database, table: str) -> None:
    client = clickhouse_connect.get_client(
        host=clickhouse.host, port=clickhouse.port, username="default", password=clickhouse.password, compress="lz4"
    )
    client.insert(table, [[1, "a"], [2, "ü"]], column_names=["x", "s"])
    found = client.query(
        f"SELECT * FROM {table} WHERE s = {{s:String}} OR x = {{x:Int64}} ORDER BY x", {"s": "a", "x": 2}
    )
    assert found.result_rows == [(1, "a"), (2, "ü")]
    assert client.query_arrow(f"SELECT x FROM {table} ORDER BY x").column("x").to_pylist() == [1, 2]
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT * FROM nothing_here")
    assert caught.value.code == 60
    client.close()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("lz4", lambda data: bytes(cramjam.lz4.compress(data))),
        ("identity", bytes),
    ],
)
def test_a_compressed_body_is_unpacked(clickhouse: Database, table: str, name: str, pack: object) -> None:
    assert callable(pack)
    body = pack(b'{"x": 1}\n{"x": 2, "s": "b"}\n')
    headers = {"Content-Encoding": name}
    status, text, answered = ask(clickhouse, body, {"query": f"INSERT INTO {table} FORMAT JSONEachRow"}, headers)
    assert (status, text) == (200, "")
    assert json.loads(answered["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert rows(clickhouse, table) == [[1, "none"], [2, "b"]]


def test_a_broken_compressed_body_is_refused(clickhouse: Database, table: str) -> None:
    for name in ("gzip", "zstd", "lz4", "br"):
        status, text, _ = ask(
            clickhouse, b"no", {"query": f"INSERT INTO {table} FORMAT CSV"}, {"Content-Encoding": name}
        )
        assert status in (500, 501), text
        assert text.startswith("Code: ")


def test_a_chunked_body_arrives_whole_and_the_connection_lives_on(clickhouse: Database, table: str) -> None:
    connection = http.client.HTTPConnection(clickhouse.host, clickhouse.port, timeout=30)
    headers = {"X-ClickHouse-Key": clickhouse.password, "X-ClickHouse-User": "default"}
    parts = [f"INSERT INTO {table} FORMAT CSV\n".encode(), b"1,a\n2", b",b\n"]
    for number in b"1", b"2":
        parts = [f"INSERT INTO {table} FORMAT CSV\n".encode(), number + b",a\n", number + b"0", b",b\n"]
        connection.request("POST", "/", iter(parts), headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
    connection.close()
    assert rows(clickhouse, table) == [[1, "a"], [2, "a"], [10, "b"], [20, "b"]]


def test_a_retried_insert_with_the_same_token_is_not_doubled(clickhouse: Database, table: str) -> None:
    for token in ("k1", "k1", "k2"):
        assert ask(clickhouse, f"INSERT INTO {table} VALUES (1, 'a')", {"insert_deduplication_token": token})[0] == 200
    assert rows(clickhouse, table) == [[1, "a"], [1, "a"]]


def test_parameters_and_formats_are_those_of_the_interface(clickhouse: Database) -> None:
    assert ask(clickhouse, "SELECT {a:String}, {b:Array(Int8)}", {"param_a": "it's\\n", "param_b": "[1,2]"})[:2] == (
        200,
        "it\\'s\\n\t[1,2]\n",
    )
    assert ask(clickhouse, "SELECT 1 AS a", {"default_format": "JSONEachRow"})[1] == '{"a":1}\n'
    status, text, headers = ask(clickhouse, parameters={"query": "SELECT 1 AS a FORMAT CSVWithNames"}, method="GET")
    assert (status, text, headers["X-ClickHouse-Format"]) == (200, '"a"\n1\n', "CSVWithNames")


def test_a_setting_or_a_database_of_one_request_does_not_reach_the_next(clickhouse: Database) -> None:
    sql = "SELECT getSetting('max_threads') = 3, currentDatabase()"
    assert ask(clickhouse, sql, {"max_threads": "3", "database": "system"})[1] == "1\tsystem\n"
    assert ask(clickhouse, "SET max_threads = 3")[0] == 200
    assert ask(clickhouse, sql)[1] == "0\thome\n"


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM nothing_here", 404, 60),
        ("SELECT 1 +", 400, 62),
        ("SELECT nothing_here", 404, 47),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT * FROM file('/etc/passwd', LineAsString)", 403, 497),
        ("SELECT 1 INTO OUTFILE '/tmp/aftermath-outfile'", 403, 497),
        ("SELECT * FROM '/etc/hostname'", 404, 60),
    ],
)
def test_an_error_carries_its_code_and_a_fitting_status(clickhouse: Database, sql: str, status: int, code: int) -> None:
    found, text, headers = ask(clickhouse, sql)
    assert (found, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert text.startswith(f"Code: {code}. DB::Exception: ")


@pytest.mark.parametrize("setting", ["readonly", "dialect", "format_schema", "x'; DROP TABLE t", "nothing_like_it"])
def test_settings_that_open_a_door_are_refused_or_without_effect(clickhouse: Database, setting: str) -> None:
    sql = "SELECT getSetting('readonly')"
    status, text, _ = ask(clickhouse, sql, {setting: "0"}, user="analyst")
    assert (status, text) == (200, "2\n") if setting == "readonly" else status in (403, 404)


def test_the_analyst_only_reads(clickhouse: Database, table: str) -> None:
    ask(clickhouse, f"INSERT INTO {table} VALUES (1, 'a')")
    assert ask(clickhouse, f"SELECT count() FROM {table}", user="analyst")[:2] == (200, "1\n")
    for sql in (
        f"INSERT INTO {table} VALUES (2, 'b')",
        f"/* SELECT */ DROP TABLE {table}",
        f"ALTER TABLE {table} DELETE WHERE 1",
        f"TRUNCATE TABLE {table}",
        "CREATE TABLE z (a Int8) ENGINE = Memory",
        "SELECT 1 SETTINGS readonly = 0",
        f"EXPLAIN SELECT 1; DROP TABLE {table}",
    ):
        assert ask(clickhouse, sql, user="analyst")[0] in (400, 403), sql
    assert ask(clickhouse, f"INSERT INTO {table} VALUES (3, 'c')")[0] == 200  # the writer is not locked by it
    assert rows(clickhouse, table) == [[1, "a"], [3, "c"]]


def test_a_get_request_only_reads(clickhouse: Database, table: str) -> None:
    found = ask(clickhouse, parameters={"query": f"INSERT INTO {table} VALUES (1, 'a')"}, method="GET")
    assert found[0] == 403
    assert rows(clickhouse, table) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-ClickHouse-Key": "wrong"},
        {"X-ClickHouse-Key": ""},
        {"X-ClickHouse-User": "root"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_wrong_password_host_or_origin_is_refused(clickhouse: Database, headers: dict[str, str]) -> None:
    status, text, answered = ask(clickhouse, "SELECT 1", headers=headers)
    assert (status, answered["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert clickhouse.password not in text


def test_basic_authentication_and_the_password_in_the_query_work_too(clickhouse: Database) -> None:
    import base64

    basic = base64.b64encode(f"default:{clickhouse.password}".encode()).decode()
    for headers, query in (
        ({"Authorization": f"Basic {basic}"}, ""),
        ({}, f"?user=default&password={urllib.parse.quote(clickhouse.password)}"),
        ({}, ""),
    ):
        connection = http.client.HTTPConnection(clickhouse.host, clickhouse.port, timeout=30)
        connection.request("POST", f"/{query}", b"SELECT 1", headers)
        status = connection.getresponse().status
        connection.close()
        assert status == (200 if headers or query else 403)


def test_requests_run_side_by_side(clickhouse: Database) -> None:
    started = time.monotonic()
    slow = [threading.Thread(target=ask, args=(clickhouse, "SELECT sleep(2)")) for _ in range(3)]
    for thread in slow:
        thread.start()
    for thread in slow:
        thread.join()
    assert 2.0 <= time.monotonic() - started < 5.9  # one after the other takes 6


def test_a_long_statement_with_parameters_may_come_as_a_form(clickhouse: Database) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:Int64} + 1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="param_x"\r\n\r\n41\r\n--b--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert ask(clickhouse, body, headers=headers)[:2] == (200, "42\n")


def test_a_second_database_in_one_process_is_refused(clickhouse: Database) -> None:
    with pytest.raises(UsageError, match="already"), embedded_database():
        pass


def test_everything_is_gone_at_the_end() -> None:
    """In a process of its own: this one has its database."""
    import subprocess
    import sys

    script = (
        "import glob, pipeline.embedded as e\n"
        "for _ in range(2):\n"
        "    with e.embedded_database() as d:\n"
        "        import urllib.request as u\n"
        "        keep = u.urlopen(d.url + '/ping'); print(d.url, len(keep.read())); keep.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert (done.returncode, done.stderr) == (0, "")
    for port in re.findall(r":(\d+) 4", done.stdout):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), timeout=5)


def test_passwords_do_not_show_in_a_repr(clickhouse: Database) -> None:
    assert clickhouse.password not in repr(clickhouse)
    assert clickhouse.analyst_password not in repr(clickhouse)


def test_the_connection_file_is_for_its_owner_only_and_goes_away(clickhouse: Database, tmp_path: Path) -> None:
    path = tmp_path / ".aftermath" / "demo.json"
    written = write_connection_file(path, "127.0.0.1:9092", clickhouse)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_connection_file(path) == written
    assert (written.kafka, written.clickhouse_url) == ("127.0.0.1:9092", clickhouse.url)
    write_connection_file(path, "127.0.0.1:9093", clickhouse)
    assert [item.name for item in path.parent.iterdir()] == ["demo.json"]
    remove_connection_file(path)
    assert not path.exists()


def test_a_missing_or_foreign_connection_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="start `aftermath demo`"):
        read_connection_file(tmp_path / "demo.json")
    for text in ("{", "[]", '{"kafka": "x"}'):
        (tmp_path / "demo.json").write_text(text)
        with pytest.raises(UsageError, match="delete it"):
            read_connection_file(tmp_path / "demo.json")
