from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy_addon.errors import SettingsError
from proxy_addon.files.keys import key_of


def test_without_a_file_each_key_is_another():
    assert key_of(None) != key_of(None)
    assert len(key_of(None)) == 32


def test_a_file_is_made_for_its_owner_alone_and_read_again(tmp_path):
    path = tmp_path / "tape.key"
    key = key_of(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key_of(path) == key
    assert [each.name for each in tmp_path.iterdir()] == ["tape.key"]


def test_several_that_make_it_at_once_get_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: key_of(tmp_path / "key"), range(32)))) == 1


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (b"00" * 32, 0o640, "others can read the key file"),
        (b"00" * 32, 0o604, "others can read the key file"),
        (b"secret", 0o600, "does not hold a key"),
        (b"", 0o600, "does not hold a key"),
        (b"00" * 8, 0o600, "does not hold a key"),
    ],
)
def test_a_file_that_is_no_secret_or_no_key_is_refused(tmp_path, content, mode, message):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=message) as caught:
        key_of(path)
    assert caught.value.hint


def test_a_file_that_cannot_be_made_or_read_is_told(tmp_path):
    with pytest.raises(SettingsError, match="cannot make the key file"):
        key_of(tmp_path / "none" / "key")
    with pytest.raises(SettingsError, match="cannot read the key file"):
        key_of(tmp_path)
