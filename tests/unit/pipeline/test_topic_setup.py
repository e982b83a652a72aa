from pipeline.topic_setup import topic_config
from schemas.topics import SIGNALS, SNAPSHOTS, TRACES


def test_a_recording_keeps_its_own_times_and_is_not_deleted_for_its_age() -> None:
    config = topic_config(TRACES, is_recorded=True)
    assert config["message.timestamp.type"] == "CreateTime"
    assert config["retention.ms"] == "-1"


def test_live_topics_are_stamped_by_the_broker_and_have_an_end() -> None:
    config = topic_config(TRACES, is_recorded=False)
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert config["retention.ms"] == str(TRACES.retention_ms)
    assert topic_config(SIGNALS, is_recorded=True)["message.timestamp.type"] == "LogAppendTime"


def test_state_is_compacted() -> None:
    assert topic_config(SNAPSHOTS, is_recorded=False)["cleanup.policy"] == "compact"
