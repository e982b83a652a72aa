"""The weekly roundup: metrics on Monday, drift on Wednesday, security and governance on Friday."""
