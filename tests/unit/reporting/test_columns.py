"""Tables and texts that fit."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.text import Text

from proxy_addon.reporting.columns import Column, Table, cut, wrapped

ID = "266536906d00a581"
HOSTILE = [
    "a name " * 100,
    "海の三秒間、とても長い題名の映画",
    "e\N{COMBINING ACUTE ACCENT}" * 80,
    "👩" * 50,
    "",
    "x" * 500,
]


def table(*names: str) -> Table:
    found = Table(
        Column("id", is_id=True),
        Column("state"),
        Column("n", is_right=True),
        Column("player", least=6, dropped=2),
        Column("media", least=6, dropped=1),
    )
    for name in names:
        found.add(ID, "completed", "12", name, name)
    return found


def lines(of: Table, width: int | None) -> list[str]:
    return [line.plain for line in of.lines(width)]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("width", [24, 30, 31, 39, 40, 60, 80, 200])
def test_no_line_is_wider_than_there_is_room_and_what_stays_is_whole(name, width):
    found = lines(table(name, "short"), width)
    assert max(map(cell_len, found)) <= width
    for line in found[1:]:
        id, state, number = line.split()[:3]
        assert (ID.startswith(id), len(id) >= 8, state, number) == (True, True, "completed", "12")


def test_where_the_width_has_no_limit_everything_is_there():
    found = lines(table(*HOSTILE), None)
    for line, name in zip(found[1:], HOSTILE, strict=True):
        assert line.count(name.strip()) >= 2
        assert ID in line


def test_a_very_long_value_puts_no_blanks_into_other_rows():
    short = lines(table("x" * 100_000, "short"), None)[2]
    assert len(short) < 200


def test_columns_go_in_their_turn():
    heads = [lines(table("a name of some length"), width)[0].split() for width in (200, 40, 32, 24)]
    assert heads == [
        ["id", "state", "n", "player", "media"],
        ["id", "state", "n", "player", "media"],
        ["id", "state", "n", "player"],
        ["id", "state", "n"],
    ]


def test_ids_are_told_apart():
    ids = ["aaaaaaaa11111111", "aaaaaaaa12222222", "bbbbbbbb33333333"]
    found = Table(Column("id", is_id=True), Column("media"))
    for id in ids:
        found.add(id, "x" * 20)
    assert [line.split()[0] for line in lines(found, 33)[1:]] == ["aaaaaaaa11", "aaaaaaaa12", "bbbbbbbb33"]


def test_what_stands_below_a_row_wraps_and_its_prose_too():
    found = Table(Column("rule"), Column("what is wrong", is_prose=True, least=10))
    found.add("ping-gap", "no ping for a long time", below=[Text("here and there and everywhere")])
    assert lines(found, 25) == [
        "rule      what is wrong",
        "ping-gap  no ping for a",
        "          long time",
        "    here and there and",
        "      everywhere",
    ]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("one two three", 13, ["one two three"]),
        ("one two three", None, ["one two three"]),
        ("one two three", 9, ["one two", "  three"]),
        ("onetwothree four", 6, ["onetwo", "  thre", "  e", "  four"]),
        ("海の三秒間", 6, ["海の三", "  秒間"]),
        ("  one two", 6, ["  one", "  two"]),
    ],
)
def test_a_text_breaks_between_words_or_in_one_that_is_too_long(text, width, expected):
    assert [line.plain for line in wrapped(Text(text), width, hanging=2)] == expected


@pytest.mark.parametrize("text", [*HOSTILE, "word " * 300, "a" * 300 + " b " + "c" * 300])
@pytest.mark.parametrize("hanging", [0, 4, 70])
def test_wrapping_loses_nothing_but_blanks(text, hanging):
    found = [line.plain for line in wrapped(Text(text), 80, hanging)]
    assert max(map(cell_len, found)) <= 80
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_deep_indent_leaves_room_for_words():
    found = [line.plain for line in wrapped(Text("one two three four five six"), 25, hanging=20)]
    assert found == ["one two three four five", "            six"]


def test_a_text_is_cut_at_its_end():
    assert cut(Text("three words here"), 10).plain == "three wor…"
    assert cut(Text("three words here"), None).plain == "three words here"
