"""The live page: agents and infrastructure on one timeline, watched as they happen."""
