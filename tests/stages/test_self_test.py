"""The start-up check of the transport: it passes with the locked versions, and names what differs with others."""

import aiokafka
import faust
import faust.streams
import pytest
from faust.transport.drivers import aiokafka as driver

from pipeline.transport import EXPECTED, self_test
from schemas.errors import ConfigurationError


def test_the_installed_libraries_are_those_the_transport_was_written_for() -> None:
    self_test()


def test_every_part_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust, "__version__", "0.16.1")
    monkeypatch.setattr(aiokafka, "__version__", "0.15.0")
    monkeypatch.setattr(driver.Consumer, "_new_offset", lambda self, tp, generation: None)
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    monkeypatch.setattr(aiokafka.codec, "has_zstd", lambda: False)
    with pytest.raises(ConfigurationError) as caught:
        self_test()
    text = str(caught.value)
    for part in ("0.16.1", "0.15.0", "_new_offset", "NO_CYTHON", "zstd", "requirements.lock"):
        assert part in text


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, name, _ in EXPECTED])
def test_each_part_that_is_replaced_is_looked_for(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, lambda: None)
    with pytest.raises(ConfigurationError, match=name):
        self_test()
