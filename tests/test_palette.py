from __future__ import annotations

import base64

import pytest

from claude_lab import palette


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast of two colors, from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("shades", [each for each in palette.FOLLOWS if each is not palette.PAPER])
def test_every_color_can_be_read_on_its_page(shades: palette.Shades) -> None:
    """At least 4.5 to 1 on the light page and on the dark one."""
    assert all(contrast(color, paper) >= 4.5 for color, paper in zip(shades, palette.PAPER, strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("buffered", "HTTP/1.0 to the app"),
        ("buffer", "buffered at $1 a GB"),
        ("direct", "unbuffered"),
        ("plain", "HTTP/1.1 to the app"),
        ("TLS record", "production, https"),
    ],
)
def test_a_thing_has_one_color_in_every_picture(one: str, other: str) -> None:
    """Two names of one role have one color, whatever stands beside them and in which order."""
    assert palette.shades_of(["sent", "x", one])[one] == palette.shades_of([other, "gzip", "y"])[other]


def test_roles_in_one_picture_differ() -> None:
    """Sent, direct, buffered, TLS and gzip are told apart."""
    assert len(set(palette.shades_of(["sent", "direct", "buffered", "TLS", "gzip"]).values())) == 5


def test_other_labels_take_what_is_left() -> None:
    """A label without a role takes no color that a role in the picture has, until all are taken."""
    given = palette.shades_of(["a", "buffered", "b", "c", "direct", "d"])

    assert len(set(given.values())) == 6
    assert set(palette.shades_of(map(str, range(12))).values()) == set(palette.SPARE)


def test_a_source_is_the_document_itself() -> None:
    """What an image's address holds is the drawing, unchanged, and nothing in it could end an attribute."""
    address = palette.source('<svg title="ü">\'</svg>')

    assert base64.b64decode(address.partition("base64,")[2]).decode() == '<svg title="ü">\'</svg>'
    assert not set(address) & set("<>\"' ")
