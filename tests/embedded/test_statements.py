"""The lexer takes one statement and refuses what reaches outside, however it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded.statements import Engine, RefusedError, parse

ENGINE = Engine(
    frozenset({"file", "url", "s3", "remote", "remotesecure", "executable", "numbers", "view", "eval"}),
    frozenset({"url", "file", "kafka", "memory", "mergetree", "replacingmergetree", "view"}),
    frozenset({"atomic", "filesystem"}),
)
REFUSED = [
    "SELECT * FROM file('/etc/passwd')",
    "SELECT * FROM FILE /* x */ ('/etc/passwd')",
    "SELECT file('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    'SELECT "fi\\le"(1)',
    "SELECT * FROM url('http://127.0.0.1/', CSV)",
    "SELECT * FROM remote('10.0.0.1', system.one)",
    "SELECT * FROM s3('http://x/y')",
    "SELECT * FROM eval('SELECT 1')",
    "INSERT INTO FUNCTION file('x.csv') SELECT 1",
    "INSERT INTO FUNCTION file('x.csv') VALUES (1)",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
    'SELECT * FROM default."/etc/passwd"',
    'SELECT * FROM `default` . "/etc/passwd"',
    "CREATE TABLE t (a Int) ENGINE = URL('http://x')",
    "CREATE TABLE t (a Int) ENGINE Kafka",
    "CREATE DATABASE d ENGINE = Filesystem('/')",
    "CREATE TABLE t (a Int) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/')",
    "CREATE DICTIONARY d (a Int) PRIMARY KEY a SOURCE(FILE(path '/etc/passwd' format 'CSV')) LAYOUT(FLAT())",
    "BACKUP DATABASE aftermath TO File('/tmp/x')",
    "ATTACH TABLE t FROM '/etc' (a Int) ENGINE = MergeTree ORDER BY a",
    "SYSTEM SHUTDOWN",
    "SELECT 1; DROP TABLE t",
    "INSERT INTO t SELECT 1; SELECT 2",
    "SELECT 1 SETTINGS format_template_row = '/etc/passwd'",
    "SET dialect = 'kusto'",
    "SELECT /* /* */ ' */ , file('/etc/passwd') -- '",
    "SELECT 1 // '\n, file('/etc/passwd') -- '",
    "SELECT 1 ‘ ' ’ , file('/etc/passwd') -- '",
    "SELECT 'never closed",
    "",
    "  -- nothing\n",
    ";",
    "please",
]
TAKEN = [
    "SELECT 1",
    "select 'file(1); INTO OUTFILE'",
    "SELECT file, source, engine FROM t WHERE engine = 'URL'",
    "SELECT * FROM numbers(3);",
    "SELECT $$ file('x') $$ # a comment",
    "WITH 1 AS x SELECT x",
    "(SELECT 1)",
    "SHOW TABLES",
    "CREATE TABLE t (a Int) ENGINE = ReplacingMergeTree ORDER BY a",
    "ALTER TABLE t DELETE WHERE a = 1",
    "INSERT INTO t SELECT a FROM u FORMAT Null",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_reaches_outside_is_refused(sql: str) -> None:
    with pytest.raises(RefusedError, match=r"^Code: \d+\. DB::Exception: "):
        parse(sql.encode(), ENGINE, {})


@pytest.mark.parametrize("sql", TAKEN)
def test_ordinary_statements_are_taken(sql: str) -> None:
    assert parse(sql.encode(), ENGINE, {}).format is None


@pytest.mark.parametrize(
    ("body", "sql", "format_", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01\x02;'", "INSERT INTO t", "Native", b"\x01\x02;'"),
        (b'insert into t (a, b) format JSONEachRow {"a": 1}', "insert into t (a, b)", "JSONEachRow", b'{"a": 1}'),
        (b"INSERT INTO t VALUES (1, 'a;b'); x", "INSERT INTO t", "Values", b" (1, 'a;b'); x"),
        (b"INSERT INTO t SETTINGS a = 1 FORMAT CSV\r\n1\n", "INSERT INTO t SETTINGS a = 1", "CSV", b"1\n"),
        (b"/* c */ INSERT INTO t (`format`) FORMAT TSV\n\nx", "/* c */ INSERT INTO t (`format`)", "TSV", b"\nx"),
    ],
)
def test_the_rows_of_an_insert_are_told_from_its_text(body: bytes, sql: str, format_: str, data: bytes) -> None:
    found = parse(body, ENGINE, {})
    assert (found.sql, found.format, found.data) == (sql, format_, data)


@pytest.mark.parametrize("value", ["default", "default.x", "/etc/passwd", "a.b.c", "a b", ""])
def test_an_identifier_parameter_must_be_a_plain_name(value: str) -> None:
    with pytest.raises(RefusedError):
        parse(b"SELECT * FROM { t : Identifier }", ENGINE, {"t": value})
    assert parse(b"SELECT * FROM {t:Identifier}", ENGINE, {"t": "signals"}).keyword == "SELECT"


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused_but_never_crash(body: bytes) -> None:
    try:
        parse(body, ENGINE, {})
    except RefusedError as refused:
        assert refused.code in (48, 62, 164, 497)  # noqa: PT017
