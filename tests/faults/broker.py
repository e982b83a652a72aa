"""The mock cluster with the rest of its faults: slow answers, leaders that move, records that are deleted; and what was
really asked of it, so that a test knows that its fault did happen."""

import ctypes as c
from collections import Counter
from collections.abc import Sequence

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from pipeline.embedded.broker import BROKER, I16, I32, I64, PTR, SIZE, STR, _library
from schemas.topics import ALL, Topic
from tests.stages.kafka import Broker

MORE = {
    "mock_partition_delete_records": (I16, [PTR, STR, I32, I64]),
    "mock_start_request_tracking": (None, [PTR]),
    "mock_get_requests": (c.POINTER(PTR), [PTR, c.POINTER(SIZE)]),
    "mock_request_api_key": (I16, [PTR]),
    "mock_request_destroy_array": (None, [c.POINTER(PTR), SIZE]),
}


class FaultyBroker(Broker):
    """One broker, or several."""

    def __init__(self, topics: Sequence[Topic] = ALL, brokers: int = 1) -> None:
        super().__init__(topics, brokers)
        for name, (result, arguments) in MORE.items():
            function = getattr(_library(), f"rd_kafka_{name}")
            function.restype, function.argtypes = result, arguments
        self._is_counting = False

    def asked(self) -> Counter[int]:
        """How often each API was called since this was asked first."""
        if not self._is_counting:
            self("start_request_tracking")  # takes a second, and most tests need none
            self._is_counting = True
        number = SIZE()
        found = _library().rd_kafka_mock_get_requests(self._cluster, c.byref(number))
        calls = Counter(_library().rd_kafka_mock_request_api_key(found[place]) for place in range(number.value))
        _library().rd_kafka_mock_request_destroy_array(found, number)
        return calls

    def slow_down(self, milliseconds: int) -> None:
        """Each answer takes so long; 0 for no delay."""
        self("broker_set_rtt", BROKER, milliseconds)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """As retention does."""
        self("partition_delete_records", topic.encode(), partition, before)

    def move_leader(self, topic: str, partition: int, broker: int) -> None:
        self("partition_set_leader", topic.encode(), partition, broker)

    def move_coordinator(self, group: str, broker: int) -> None:
        self("coordinator_set", b"group", group.encode(), broker)


def batch_of(values: Sequence[bytes], stamp: int) -> bytearray:
    """A record batch as a producer sends it, not compressed; stamp in milliseconds."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for offset, value in enumerate(values):
        builder.append(offset, stamp, None, value, [])
    return bytearray(builder.build())


async def produce_raw(kafka: str, topic: str, partition: int, batch: bytes) -> int:
    """Send bytes as a batch, whatever they are; returns the broker's error code."""
    client = AIOKafkaClient(bootstrap_servers=kafka)
    await client.bootstrap()
    try:
        await client.force_metadata_update()
        node = client.cluster.broker_metadata(1)
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=5_000, topics=[(topic, [(partition, batch)])]
        )
        answer = await client.send(node.nodeId, request)
        return int(answer.topics[0][1][0][1])
    finally:
        await client.close()
