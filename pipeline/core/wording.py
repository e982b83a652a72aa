"""Has the same been asked for in other words? Sketches of texts that can be compared and kept. Pure.

A sketch is the least hashes of the words of a text: how many of them two texts share estimates how many of all their
words they share (MinHash, Broder 1997). A sketch is a text of at most 120 bytes, so that a session can keep some.
"""

import re
from hashlib import blake2b

WORD = re.compile(r"\w+")
LEAST_LETTERS = 4  # shorter words are grammar; where a text has no other, they count all the same
MOST_WORDS = 24
MOST_TEXT = 4_000  # characters that are looked at
DIGITS = 5  # of a word's hash
ALIKE = 0.4  # share of words: two instructions about the same, by different words, have about half in common


def sketch_of(text: str) -> str:
    """The sketch of a text."""
    words = set(WORD.findall(text[:MOST_TEXT].lower()))
    chosen = {word for word in words if len(word) >= LEAST_LETTERS} or words
    return "".join(sorted(blake2b(word.encode(), digest_size=3).hexdigest()[:DIGITS] for word in chosen)[:MOST_WORDS])


def is_alike(one: str, two: str) -> bool:
    """Whether two sketches are of texts that say the same."""
    if one == two:
        return bool(one)
    left, right = _hashes(one), _hashes(two)
    both = sorted(left | right)[:MOST_WORDS]
    shared = sum(part in left and part in right for part in both)
    return shared >= ALIKE * len(both) if both else False


def _hashes(sketch: str) -> set[str]:
    return {sketch[at : at + DIGITS] for at in range(0, len(sketch), DIGITS)}
