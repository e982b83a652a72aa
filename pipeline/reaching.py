"""Asks a Kafka cluster who it is; where there is no answer, says in one sentence why and what to do.

librdkafka goes on trying for ever, also with a password that was refused. Why it gets nowhere it tells beside the
answers, to whoever polls: so the question is asked in slices of time, and between them one looks. A refused login or
certificate ends it at once; a broker that is only slow, or not up yet, has all the time there is.
"""

import logging
import re
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.clock import monotonic
from pipeline.kafka_connection import KafkaConnection
from schemas.errors import ConfigurationError, DependencyError

FIRST_SLICE_SECONDS = 0.5
QUIET = logging.getLogger("pipeline.reaching.librdkafka")  # what it logs it also tells us
QUIET.setLevel(logging.CRITICAL + 1)
NOISE = re.compile(r"^\S+/(?:bootstrap|\d+): | \(after \d+ms in state \w+\)$")  # the address again, and its insides
FINAL = ("_AUTHENTICATION", "_SSL")
LOGIN = "check AFTERMATH_KAFKA_MECHANISM, AFTERMATH_KAFKA_USER and AFTERMATH_KAFKA_PASSWORD"
TLS = (
    "check AFTERMATH_KAFKA_TLS, and that AFTERMATH_KAFKA_CA_FILE is the authority that signed the broker's certificate"
)
OWN_CERTIFICATE = (
    "the broker does not take our certificate: set AFTERMATH_KAFKA_CERTIFICATE_FILE and AFTERMATH_KAFKA_KEY_FILE to one"
    " that it trusts"
)
ADDRESS = "start it, or set AFTERMATH_KAFKA"
WANTS_MORE = f"{ADDRESS}; if the broker wants TLS or a login, set AFTERMATH_KAFKA_TLS and AFTERMATH_KAFKA_MECHANISM"


@dataclass(frozen=True, slots=True)
class Reached:
    """A cluster that answered."""

    admin: AdminClient
    cluster: Any  # confluent-kafka's ClusterMetadata

    @property
    def is_embedded(self) -> bool:
        """Whether it is librdkafka's mock cluster, which has no administration; it is known by its name."""
        return str(self.cluster.cluster_id or "").startswith("mockCluster")


def reach(connection: KafkaConnection, seconds: float) -> Reached:
    """Raises DependencyError where nobody answers in this time, or lets us in."""
    told: list[Any] = []
    try:
        admin = AdminClient(connection.librdkafka() | {"error_cb": told.append}, logger=QUIET)
    except KafkaException as error:
        raise ConfigurationError(f"Kafka cannot be reached with these settings: {error.args[0].str()}.") from None
    end, slice_seconds = monotonic() + seconds, FIRST_SLICE_SECONDS
    while True:
        try:
            return Reached(admin, admin.list_topics(timeout=max(0.05, min(slice_seconds, end - monotonic()))))
        except KafkaException as error:
            admin.poll(0)
            answer = error.args[0]
        final = [fault for fault in told if fault.name() in FINAL]
        if final or monotonic() >= end:
            told = [fault for fault in told if fault.name() != "_ALL_BROKERS_DOWN"]
            raise _unreachable(connection, (final or told or [answer])[0])
        slice_seconds *= 2


def _unreachable(connection: KafkaConnection, fault: Any) -> DependencyError:
    name, text = fault.name(), NOISE.sub("", str(fault.str()))
    if name == "_AUTHENTICATION":
        hint = LOGIN
    elif "alert bad certificate" in text or "alert certificate required" in text:
        hint = OWN_CERTIFICATE
    elif name == "_SSL" or "SSL" in text:
        hint = TLS
    elif "refused" in text or name == "_RESOLVE":
        hint = ADDRESS
    else:
        hint = ADDRESS if connection.tls or connection.mechanism else WANTS_MORE
    verb = "refuses us" if name in FINAL else "does not answer"
    return DependencyError(f"Kafka at {connection.servers} {verb} ({text}); {hint}.")
