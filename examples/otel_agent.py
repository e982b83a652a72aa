"""An agent with OpenTelemetry in it, as its SDK instruments one: it asks for the same ticket again and again.

    aftermath run --embedded --otlp 4318                       # in one terminal
    pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    python examples/otel_agent.py                              # in another; the first incident appears after some 20 s

Where it sends to is OpenTelemetry's own setting, OTEL_EXPORTER_OTLP_ENDPOINT (http://localhost:4318 if unset).
"""

import argparse
import json
import time

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def main() -> None:
    options = argparse.ArgumentParser(description="A support agent that loops, seen through OpenTelemetry.")
    options.add_argument("--steps", type=int, default=12)
    options.add_argument("--pause", type=float, default=1.0, metavar="SECONDS", help="between two steps")
    args = options.parse_args()

    provider = TracerProvider(resource=Resource.create({"service.name": "support-desk"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("support-desk")

    run = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "support-agent",
        "gen_ai.conversation.id": f"chat-{time.time_ns()}",
    }
    with tracer.start_as_current_span("invoke_agent support-agent", attributes=run):
        for _ in range(args.steps):
            think(tracer, run)
            read_ticket(tracer, run, number=4711)
            time.sleep(args.pause)
    provider.shutdown()  # sends what is left


def think(tracer: trace.Tracer, run: dict[str, str]) -> None:
    """The model is asked what to do next."""
    asked = {
        **run,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.usage.input_tokens": 1_850,
        "gen_ai.usage.output_tokens": 40,
    }
    with tracer.start_as_current_span("chat gpt-5", attributes=asked):
        pass


def read_ticket(tracer: trace.Tracer, run: dict[str, str], number: int) -> None:
    """A tool call. Arguments and result are what tells a repeated call from a new one."""
    called = {
        **run,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "ticket.read",
        "gen_ai.tool.call.arguments": json.dumps({"id": number}),
    }
    with tracer.start_as_current_span("execute_tool ticket.read", attributes=called) as span:
        span.set_attribute("gen_ai.tool.call.result", json.dumps({"id": number, "state": "waiting for customer"}))


if __name__ == "__main__":
    main()
