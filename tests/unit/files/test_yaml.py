"""YAML files become plain values, and what is wrong in one is told with its line and column."""

from __future__ import annotations

import pytest

from proxy_addon.files.yaml import NotYaml, Position, parse_yaml, read_yaml

PLAN = """\
# a comment
on: no
when: 2026-11-26
sizes: [1, 0x10, 1_000, 2.5, 1e3, ~]
again: &again {deep: "10"}
twice:
  - *again
  - true
"""


def test_values_are_those_of_json():
    assert parse_yaml(PLAN, "plan.yaml").value == {
        "on": "no",
        "when": "2026-11-26",
        "sizes": [1, 16, 1000, 2.5, 1000.0, None],
        "again": {"deep": "10"},
        "twice": [{"deep": "10"}, True],
    }
    assert parse_yaml("", "empty.yaml").value is None


def test_each_value_and_key_has_its_place():
    document = parse_yaml(PLAN, "plan.yaml")
    assert document.position(("sizes", 1)) == Position(4, 12)
    assert document.position(("again", "deep"), of_key=True) == Position(5, 16)
    assert document.position(("twice", 1)) == Position(8, 5)
    assert document.position(("twice", 7, "missing")) == Position(7, 3)  # the list that lacks it
    assert str(document.error(("twice", 1), "no")) == "plan.yaml:8:5: no"
    nothing = parse_yaml("a:\n  b:\n\nc: 1", "plan.yaml")
    assert nothing.position(("a", "b")) == Position(2, 3), "what has no value stands where its key does"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", "p.yaml:1:6: not YAML: "),
        ("a: 1\na: 2", "p.yaml:2:1: a is here for the second time"),
        ("? [a]\n: 1", "p.yaml:1:3: a key is a text"),
        ("a: !python/name:os.system x", "p.yaml:1:4: the tag "),
        ("a: &a {b: 1}\nc:\n  <<: *a", "p.yaml:3:3: merge keys are not supported"),
        ("a: &a [*a]", "p.yaml:1:4: this value contains itself"),
        ("a: .inf", "p.yaml:1:4: .inf is not a number"),
        ("a: 1\n---\nb: 2", "p.yaml:"),
        ("a: 1\nb: \x07", "p.yaml:2:4: not YAML: the character '\\x07'"),
        ("[" * 20_000, "p.yaml:1:51: nested too deep"),
        ("\n".join(f"- &a{n} {'[' * 40}{f'*a{n - 1}' if n else 'x'}{']' * 40}" for n in range(20)), "p.yaml:1:"),
        (f"a: 0x{'f' * 5_000}", f"p.yaml:1:4: 0x{'f' * 58}… is not a number that can be used here"),
        (f"a: -1{'0' * 400}", f"p.yaml:1:4: -1{'0' * 58}… is not a number that can be used here"),
    ],
)
def test_what_is_no_plain_value_is_told_with_its_place(text, problem):
    with pytest.raises(NotYaml) as told:
        parse_yaml(text, "p.yaml")
    assert str(told.value).startswith(problem)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("title: Rewind: ten seconds", "1:14", "a text with a colon in it needs quotation marks"),
        ("a:\n  - b: 1\n    c: 2\n   - d", "4:4", "is the indentation right?"),
        ("a:\n\tb: 1", "2:1", "indent with spaces"),
        ("a: @home", "1:4", "a text that begins with this character needs quotation marks"),
    ],
)
def test_what_to_do_about_a_common_mistake_is_told(text, place, hint):
    with pytest.raises(NotYaml, match=f"p.yaml:{place}: not YAML: ") as told:
        parse_yaml(text, "p.yaml")
    assert hint in told.value.hint


def test_aliases_do_not_fill_the_memory():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(NotYaml, match=r"more than 100,000 values"):
        parse_yaml("\n".join(lines), "bomb.yaml")


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(NotYaml, match="not UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
    with pytest.raises(Exception, match="cannot read"):
        read_yaml(tmp_path / "none.yaml")
