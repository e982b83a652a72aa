"""GET /metrics, /healthz, /readyz of a worker. No secrets in any; nothing can be changed here."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from pipeline.health import StageCollector, not_alive, not_ready
from pipeline.stages.base import Stage

Stages = Mapping[str, Stage[Any]]


def health_application(stages: Stages) -> web.Application:
    """healthz is for a liveness probe: 503 only where a restart helps. readyz is for people and for roll-outs."""
    registry = CollectorRegistry()
    registry.register(StageCollector(stages))
    ProcessCollector(registry=registry)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def verdict(look: Callable[[Stages], list[str]]) -> Callable[[web.Request], Any]:
        async def answer(_: web.Request) -> web.Response:
            found = look(stages)
            return web.json_response(
                {"ok": not found, "stages": sorted(stages), "why": found}, status=503 if found else 200
            )

        return answer

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/healthz", verdict(not_alive))
    application.router.add_get("/readyz", verdict(not_ready))
    return application
