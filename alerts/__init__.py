"""Who is told: rules, the outbox, receivers."""
