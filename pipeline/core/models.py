"""What is publicly known of models: the size of their context, where neither a span nor `limits.yml` says it."""

from fnmatch import fnmatchcase
from functools import cache

# shell patterns of model names, the narrow first; tokens, as their vendors give them
CONTEXTS = (
    ("*claude*", 200_000),
    ("*gpt-4.1*", 1_047_576),
    ("*gpt-5*", 400_000),
    ("*gpt-4o*", 128_000),
    ("*gpt-4-turbo*", 128_000),
    ("*gemini-1.5-pro*", 2_097_152),
    ("*gemini*", 1_048_576),
    ("o1*", 200_000),
    ("o3*", 200_000),
    ("o4*", 200_000),
    ("*llama-3.[123]*", 131_072),
    ("*deepseek*", 128_000),
    ("*mistral-large*", 128_000),
)


@cache
def context_of(model: str | None) -> int | None:
    """How many tokens fit into the context of this model; None where that is not known."""
    name = (model or "").lower()
    return next((tokens for pattern, tokens in CONTEXTS if fnmatchcase(name, pattern)), None)
