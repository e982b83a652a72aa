"""The conditions that queries share: the week, and the four weeks before it, on a column of time."""

START, END, BEFORE = ("{start:DateTime64(6, 'UTC')}", "{end:DateTime64(6, 'UTC')}", "{before:DateTime64(6, 'UTC')}")


def this_week(column: str) -> str:
    """In the week."""
    return f"({column} >= {START} AND {column} < {END})"


def earlier(column: str) -> str:
    """In the weeks before."""
    return f"({column} >= {BEFORE} AND {column} < {START})"


def either(column: str) -> str:
    """In the five weeks."""
    return f"({column} >= {BEFORE} AND {column} < {END})"


AGENT = "tenant = {tenant:String} AND agent_id = {agent_id:String}"
RUNS = f"""runs AS
(
    SELECT tenant, agent_id, session_id, min(event_time) AS at, toInt64(countIf(operation IN ('chat', 'execute_tool', 'retrieval'))) AS steps,
        sumIf(input_tokens + output_tokens, operation = 'chat') AS tokens
    FROM agent_traces FINAL
    WHERE {either("event_time")} AND ({{agent_id:String}} = '' OR ({AGENT}))
    GROUP BY tenant, agent_id, session_id
)"""
