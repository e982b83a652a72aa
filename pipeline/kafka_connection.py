"""How Kafka is reached: addresses, TLS and a login (SASL), in one value that every client takes.

Clients of librdkafka take `librdkafka()`, Faust's client takes the parts and `ssl_context()`; both mean the same:
certificates are verified, host names too, with `ca_file` in place of the system's authorities where it is given.
The embedded broker is reached by its address alone.

`faults` looks into the files, so that a worker says at its start what is wrong with them, and not after time-outs.
"""

import ssl
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, SecretStr

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
NO_SECRET = SecretStr("")
SHOWN = 200  # characters of a path or address in a sentence


class KafkaConnection(BaseModel):
    """One way to one cluster. Secrets do not show in its repr."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    servers: str  # host:port, comma separated
    tls: bool = False
    ca_file: Path | None = None  # authorities to trust, PEM; without it those of the system
    certificate_file: Path | None = None  # our own, where the broker asks for one, PEM
    key_file: Path | None = None
    key_password: SecretStr = NO_SECRET
    mechanism: Mechanism | None = None
    user: str = ""
    password: SecretStr = NO_SECRET

    def librdkafka(self) -> dict[str, Any]:
        """Settings of a client of confluent-kafka. Holds the password: hand it on, and never print it."""
        found: dict[str, Any] = {"bootstrap.servers": self.servers}
        if self.tls or self.mechanism:
            found["security.protocol"] = ("SASL_" if self.mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")
        if self.mechanism:
            found |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password.get_secret_value(),
            }
        if self.ca_file:
            found["ssl.ca.location"] = str(self.ca_file)
        if self.certificate_file and self.key_file:
            found |= {
                "ssl.certificate.location": str(self.certificate_file),
                "ssl.key.location": str(self.key_file),
            }
            if password := self.key_password.get_secret_value():
                found["ssl.key.password"] = password
        return found

    def onlooker(self, group: str) -> dict[str, Any]:
        """Settings of a consumer that only looks: the group is never joined, nothing is committed, and it is told where
        a partition ends."""
        return self.librdkafka() | {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 0,
        }

    def ssl_context(self) -> ssl.SSLContext | None:
        """What aiokafka takes; None without TLS. Raises OSError where a file is not what it must be."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file:
            # a function: without a password Python would ask for it on the terminal
            context.load_cert_chain(self.certificate_file, self.key_file, self.key_password.get_secret_value)
        return context

    def faults(self) -> list[str]:
        """Every fault, each a sentence that names the setting to change. Reads the files."""
        found = []
        if self.mechanism and not (self.user and self.password.get_secret_value()):
            found.append("AFTERMATH_KAFKA_MECHANISM needs AFTERMATH_KAFKA_USER and AFTERMATH_KAFKA_PASSWORD: set both.")
        if not self.mechanism and (self.user or self.password.get_secret_value()):
            wanted = ", ".join(get_args(Mechanism))
            found.append(f"A Kafka login needs AFTERMATH_KAFKA_MECHANISM: set it to what the broker has ({wanted}).")
        files = {"CA_FILE": self.ca_file, "CERTIFICATE_FILE": self.certificate_file, "KEY_FILE": self.key_file}
        given = {f"AFTERMATH_KAFKA_{name}": path for name, path in files.items() if path is not None}
        if given and not self.tls:
            found.append(f"{', '.join(given)} would not be used: set AFTERMATH_KAFKA_TLS=true.")
        if (self.certificate_file is None) != (self.key_file is None):
            found.append("AFTERMATH_KAFKA_CERTIFICATE_FILE and AFTERMATH_KAFKA_KEY_FILE go together: set both or none.")
        missing = [said for name, path in given.items() if (said := file_fault(name, path))]
        found += missing
        if self.tls and not found:
            found += [said for said in (authorities_fault("AFTERMATH_KAFKA_CA_FILE", self.ca_file),) if said]
        if self.tls and not found:
            try:
                self.ssl_context()
            except (OSError, ValueError):
                found.append(
                    f"The key in AFTERMATH_KAFKA_KEY_FILE ({str(self.key_file)[:SHOWN]}) cannot be used: it must be"
                    " that of the certificate, both PEM; a key with a password needs AFTERMATH_KAFKA_KEY_PASSWORD."
                )
        return found

    def __str__(self) -> str:
        """For people: what is used, and that there is a password, not which."""
        parts = [self.servers, "TLS" if self.tls else "no TLS"]
        if self.ca_file:
            parts.append(f"authorities of {self.ca_file}")
        if self.certificate_file:
            parts.append(f"certificate {self.certificate_file}")
        parts.append(f"{self.mechanism} as {self.user} (password ****)" if self.mechanism else "no login")
        return ", ".join(parts)


def file_fault(setting: str, path: Path) -> str | None:
    """What is wrong with a file that a setting names, before anybody looks into it."""
    try:
        path.open("rb").close()
    except OSError as error:
        why = (
            "there is no such file" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error.strerror})"
        )
        return f"{setting} names {str(path)[:SHOWN]}, and {why}: give the path of a PEM file that this user may read."
    return None


def authorities_fault(setting: str, path: Path | None) -> str | None:
    """What is wrong with a file of certificates of authorities."""
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError):
        return f"{setting} ({str(path)[:SHOWN]}) holds no certificate in PEM form: give it the broker's authority."
    return None
