"""The file of ``replay --changes``: what it may say, and what is told where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_addon.errors import SettingsError
from proxy_addon.files.changes import load


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "changes.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_changes_come_in_their_order(tmp_path):
    path = written(
        tmp_path,
        """
        [[change]]
        do = "set"
        path = "$.params['media.channel']"
        value = {a = [1, true]}
        only = "present"
        [[change]]
        do = "drop-header"
        name = "Referer"
        """,
    )
    assert load(path) == [
        {"do": "set", "path": "$.params['media.channel']", "value": {"a": [1, True]}, "only": "present"},
        {"do": "drop-header", "name": "Referer"},
    ]


def test_an_empty_file_changes_nothing(tmp_path):
    assert load(written(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = ", "is not TOML"),
        (b"\xff", "is not TOML"),
        ("[changes]", "'changes' is unknown"),
        ("change = 1", "change is not a list of tables"),
        ("change = [1]", "change is not a list of tables"),
        ('[[change]]\ndo = "set"\npath = "$.a"\nvalue = 1\n[[change]]\ndo = "melt"', "toml:6: change 2: .*'melt'"),
        (
            '[[change]]\ndo = "set"\npath = "$.a"\nvalue = 2026-01-01',
            "toml:4: change 1: the value cannot be written as JSON",
        ),
        ('\n[[change]]\npath = "$.a"', "toml:2: change 1: do is missing"),
        ('[[change]]\ndo = "drop"\npath = 5', "toml:3: change 1: the path is not a string: 5"),
        ('[[change]]\ndo = "drop"\npath = ["$.a"]', "toml:3: change 1: the path is not a string"),
        ('[[change]]\ndo = "set"\nvalue = 1\nonly = "here"\npath = "$.a"', "toml:4: change 1: unknown only 'here'"),
        ('[[change]]\ndo = "drop"\npath = "$.a"\nonly = "present"', "toml:4: change 1: drop has no 'only'"),
        ('[[change]]\ndo = "set"\npath = "$.a"\nvalue = 1\nonyl = "present"', "toml:5: .*has no 'onyl'"),
        (
            '[[change]]\ndo = "set-header"\nname = "A"\n"value" = 5',
            "toml:4: change 1: a header's value must be a string",
        ),
        ('change = [{do = "melt"}]', r"toml: change 1: unknown change 'melt'"),
        (
            '[[change]]\ndo = "set"\npath = "$.a"\nvalue = """\n[[change]]\ndo = 1"""\n\n[[change]]\ndo = "melt"',
            "toml:9: change 2: unknown change 'melt'",
        ),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(tmp_path, text, says):
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read .*no-such") as caught:
        load(tmp_path / "no-such.toml")
    assert caught.value.hint
