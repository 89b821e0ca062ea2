"""Text from a device has no effect on whatever shows it."""

from __future__ import annotations

import unicodedata

import pytest

from proxy_addon.core.wording import visible


@pytest.mark.parametrize(
    "character",
    [
        *map(chr, range(0x20)),
        "\x7f",
        *map(chr, range(0x80, 0xA0)),
        *"\u2028\u2029",
        *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        *"\u200b\u200c\u200d\u2060\ufeff\xad",
        *map(chr, (0xD800, 0xDFFF)),
        "\U000e0001",
    ],
    ids=ascii,
)
def test_characters_that_act_on_a_terminal_are_escaped(character):
    shown = visible(f"a{character}b")
    assert shown.isprintable()
    assert shown == f"a{character.encode('unicode_escape').decode()}b"


def test_letters_and_spaces_of_every_script_stay():
    text = "Ein\xa0Tag 日本\u3000語 עברית العربية ไทย 😀 \\n"
    assert visible(text) == text


@pytest.mark.one_version
def test_nothing_is_left_that_is_a_control_a_format_or_a_line_end():
    every = "".join(map(chr, range(0x110000)))
    assert not {unicodedata.category(each) for each in visible(every)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
