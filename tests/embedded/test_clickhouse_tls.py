"""ClickHouse over TLS: rows go in and out, and a certificate that nobody vouches for is refused, by name or authority."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from pipeline.cli import main
from pipeline.embedded import Database
from pipeline.settings import Settings
from sinks.clickhouse.client import connect_as_set
from sinks.clickhouse.errors import ClickHouseError, Verdict
from tests.embedded.tls_proxy import tls_proxy
from tests.services.certificates import Authority

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes certificates, is not installed"),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture(scope="module")
def over_tls(clickhouse: Database, authority: Authority) -> Iterator[Settings]:
    with tls_proxy(clickhouse.url, authority.sign("clickhouse", "IP:127.0.0.1")) as url:
        yield Settings(
            clickhouse_url=url,
            clickhouse_ca_file=authority.certificate,
            clickhouse_user=clickhouse.user,
            clickhouse_password=clickhouse.password,
            clickhouse_database="over_tls",
        )


def test_rows_go_in_and_come_out(over_tls: Settings) -> None:
    client = connect_as_set(over_tls)
    client.command("CREATE DATABASE IF NOT EXISTS over_tls", use_database=False)
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    client.insert_frame("t", pl.DataFrame({"a": [7]}, schema={"a": pl.UInt32}), "token")
    assert client.query("SELECT a FROM t") == [{"a": 7}]
    client.close()


@pytest.mark.parametrize("signed_by", ["a stranger", "nobody this system knows"])
def test_an_authority_that_did_not_sign_is_refused(over_tls: Settings, tmp_path: Path, signed_by: str) -> None:
    ca_file = Authority(tmp_path, "stranger").certificate if signed_by == "a stranger" else None
    with pytest.raises(ClickHouseError, match="AFTERMATH_CLICKHOUSE_CA_FILE") as caught:
        connect_as_set(over_tls.model_copy(update={"clickhouse_ca_file": ca_file}))
    assert caught.value.verdict == Verdict.TRANSIENT  # a worker waits: the certificate may be mended under it
    assert over_tls.clickhouse_password.get_secret_value() not in str(caught.value)


def test_a_certificate_for_another_host_is_refused(
    clickhouse: Database, authority: Authority, over_tls: Settings
) -> None:
    with (
        tls_proxy(clickhouse.url, authority.sign("another", "DNS:elsewhere.example")) as url,
        pytest.raises(ClickHouseError, match="host name it is for"),
    ):
        connect_as_set(over_tls.model_copy(update={"clickhouse_url": url}))


def test_tls_to_a_port_without_it_is_said(clickhouse: Database, over_tls: Settings) -> None:
    with pytest.raises(ClickHouseError, match="speaks no TLS; use the HTTPS port"):
        connect_as_set(over_tls.model_copy(update={"clickhouse_url": clickhouse.url.replace("http:", "https:")}))


def test_setup_with_a_certificate_that_cannot_be_verified_ends_with_3(
    over_tls: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", over_tls.clickhouse_url)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", over_tls.clickhouse_password.get_secret_value())
    assert main(["setup"]) == 3
    assert "its certificate cannot be verified; set AFTERMATH_CLICKHOUSE_CA_FILE" in capsys.readouterr().err
