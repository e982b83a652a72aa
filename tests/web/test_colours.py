"""The colours of the live page: readable on both grounds, dark and light, and apart for the colour-blind."""

import re
from itertools import combinations
from pathlib import Path

import pytest

STYLE = Path("web/static/style.css").read_text()
SAID = ("text", "dim", "critical", "warning", "info", "good", "accent")  # what words are written in
LANES = ("agent", "write", "good", "text")  # what stands beside each other in the lanes
LEAST_CONTRAST = 4.5  # of text: WCAG 2.2, 1.4.3
LEAST_APART = 12.0
# linear RGB of what a protanope and a deuteranope see: Machado, Oliveira and Fernandes 2009, severity 1
SEEN_BY = {
    "protanope": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranope": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
}
Colour = tuple[float, ...]


def themes() -> dict[str, dict[str, Colour]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)
    return {
        name: {key: linear(value) for key, value in re.findall(r"--(\w+): #(\w{6})", block)}
        for name, block in (("light", light), ("dark", dark))
    }


def linear(code: str) -> Colour:
    """Linear RGB of a sRGB colour."""
    parts = [int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return tuple(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)


def luminance(colour: Colour) -> float:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def lab(colour: Colour) -> Colour:
    """CIE L*a*b*, white D65."""
    x = 0.4124 * colour[0] + 0.3576 * colour[1] + 0.1805 * colour[2]
    z = 0.0193 * colour[0] + 0.1192 * colour[1] + 0.9505 * colour[2]
    fx, fy, fz = (
        value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116
        for value in (x / 0.9505, luminance(colour), z / 1.089)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", SAID)
def test_words_are_readable_on_the_page_and_on_panels(theme: str, name: str) -> None:
    colours = themes()[theme]
    for ground in ("ground", "panel"):
        low, high = sorted((luminance(colours[name]), luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= LEAST_CONTRAST


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("who", sorted(SEEN_BY))
def test_what_stands_beside_each_other_is_apart_for_the_colour_blind(theme: str, who: str) -> None:
    colours = themes()[theme]
    seen = {
        name: lab(tuple(min(1.0, max(0.0, sum(a * b for a, b in zip(row, colours[name], strict=True)))) for row in SEEN_BY[who]))
        for name in LANES
    }  # fmt: skip
    for one, other in combinations(LANES, 2):
        apart = sum((a - b) ** 2 for a, b in zip(seen[one], seen[other], strict=True)) ** 0.5
        assert apart >= LEAST_APART, f"{one} and {other}"
