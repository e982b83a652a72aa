"""When everything in the story happens: the one place that says so. Microseconds UTC."""

from schemas.times import MICROS, MINUTE, parse_time

START = parse_time("2026-03-02T14:00:00Z")
END = START + 30 * MINUTE  # excluded

# Background: a person's deploy that goes well, in another scope.
PAYMENTS_DEPLOY_AT = START + 6 * MINUTE

# A partly informed change.
CAPACITY_FROM = START + 2 * MINUTE + 10 * MICROS
SCALE_AT = START + 9 * MINUTE
FAILURE_AT = SCALE_AT + 3 * MINUTE
ROLLBACK_AT = FAILURE_AT + 7 * MINUTE + 20 * MICROS
RECOVERED_AT = FAILURE_AT + 8 * MINUTE

# A loop.
SEO_FROM = START + 1 * MINUTE + 50 * MICROS
LOOP_FROM = START + 3 * MINUTE + 30 * MICROS
LOOP_UNTIL = LOOP_FROM + 20 * MINUTE

# Not the agent.
DOCS_FROM = START + 14 * MINUTE
MEMORY_FALLS_AT = START + 20 * MINUTE
NODE_OOM_AT = START + 21 * MINUTE + 10 * MICROS
NODE_WELL_AT = START + 24 * MINUTE
