"""A broker of the jars with a listener for each way to be reached: SASL in clear, SASL over TLS, mutual TLS.

Its plain listener stays: topics are made and looked at by it. Users are made when its storage is formatted (SCRAM) or
stand in its settings (PLAIN).
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from pipeline.kafka_connection import KafkaConnection, Mechanism
from tests.services.certificates import Authority
from tests.services.kafka_jars import JarKafka
from tests.services.kafka_server import free_ports

USER = "aftermath"
PASSWORD = "correct-horse-7c1d"
PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
MECHANISMS: tuple[Mechanism, ...] = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the listeners beside the plain one."""

    sasl: int
    sasl_tls: int
    tls: int


class SecureKafka(JarKafka):
    """The broker, and how to reach it. `authority` signed its certificate and those of clients it lets in."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "authority")
        self._server = self.authority.sign("broker")
        self._ports = Ports(*free_ports(3))
        super().__init__()

    def sasl(self, mechanism: Mechanism, password: str = PASSWORD) -> KafkaConnection:
        """User and password in clear."""
        return KafkaConnection(
            servers=f"127.0.0.1:{self._ports.sasl}", mechanism=mechanism, user=USER, password=SecretStr(password)
        )

    def sasl_tls(self, mechanism: Mechanism, password: str = PASSWORD, ca_file: Path | None = None) -> KafkaConnection:
        """User and password over TLS."""
        return KafkaConnection(
            servers=f"127.0.0.1:{self._ports.sasl_tls}",
            tls=True,
            ca_file=ca_file or self.authority.certificate,
            mechanism=mechanism,
            user=USER,
            password=SecretStr(password),
        )

    def mutual_tls(self) -> KafkaConnection:
        """A certificate instead of a password."""
        mine = self.authority.sign("worker")
        return KafkaConnection(
            servers=f"127.0.0.1:{self._ports.tls}",
            tls=True,
            ca_file=self.authority.certificate,
            certificate_file=mine.certificate,
            key_file=mine.key,
        )

    def broker_settings(self, port: int, controller: int) -> dict[str, str]:
        settings = super().broker_settings(port, controller)
        kinds = {"SASL": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL", "TLS": "SSL"}
        ports = (self._ports.sasl, self._ports.sasl_tls, self._ports.tls)
        addresses = "".join(f",{name}://127.0.0.1:{at}" for name, at in zip(kinds, ports, strict=True))
        settings["listeners"] += addresses
        settings["advertised.listeners"] += addresses
        settings["listener.security.protocol.map"] += "".join(f",{name}:{kind}" for name, kind in kinds.items())
        settings |= {
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.certificate),
            "listener.name.tls.ssl.client.auth": "required",
        }
        for listener in ("sasl", "sasltls"):
            settings |= {
                f"listener.name.{listener}.plain.sasl.jaas.config": f'{PLAIN_LOGIN} user_{USER}="{PASSWORD}";',
                f"listener.name.{listener}.scram-sha-256.sasl.jaas.config": SCRAM_LOGIN,
                f"listener.name.{listener}.scram-sha-512.sasl.jaas.config": SCRAM_LOGIN,
            }
        return settings

    def format_options(self) -> list[str]:
        scram = [name for name in MECHANISMS if name != "PLAIN"]
        return [word for name in scram for word in ("--add-scram", f"{name}=[name={USER},password={PASSWORD}]")]
