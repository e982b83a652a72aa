"""Rows into ClickHouse, and SQL out of it. Nothing outside this package imports the ClickHouse client."""
