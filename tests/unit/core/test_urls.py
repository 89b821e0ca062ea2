from __future__ import annotations

import pytest

from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "parsed", "text"),
    [
        ("http://h", ServerUrl("http", "h", 80), "http://h"),
        ("https://h:443/", ServerUrl("https", "h", 443), "https://h"),
        ("https://h:80", ServerUrl("https", "h", 80), "https://h:80"),
        ("HTTP://Host.Example:8080/", ServerUrl("http", "host.example", 8080), "http://host.example:8080"),
        ("http://h/Some/Path//", ServerUrl("http", "h", 80, "/Some/Path"), "http://h/Some/Path"),
        ("http://h//", ServerUrl("http", "h", 80), "http://h"),
        ("http://127.0.0.1:9000/a%20b", ServerUrl("http", "127.0.0.1", 9000, "/a%20b"), "http://127.0.0.1:9000/a%20b"),
        ("http://[::1]", ServerUrl("http", "::1", 80), "http://[::1]"),
        ("https://[2001:DB8::1]:9000/x", ServerUrl("https", "2001:db8::1", 9000, "/x"), "https://[2001:db8::1]:9000/x"),
        ("  http://h:9000\n", ServerUrl("http", "h", 9000), "http://h:9000"),
    ],
)
def test_a_url_is_parsed_and_written_in_one_way(url, parsed, text):
    assert parse_server_url(url) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "not an http or https URL"),
        ("h", "not an http or https URL"),
        ("localhost:9000", "not an http or https URL"),
        ("//h", "not an http or https URL"),
        ("ftp://h", "not an http or https URL"),
        ("http://", "not an http or https URL"),
        ("http://:80", "not an http or https URL"),
        ("http:/h", "not an http or https URL"),
        ("http://h:0", "port 0"),
        ("http://h:65536", "is not a URL"),
        ("http://h:x", "is not a URL"),
        ("http://::1:80", "not an http or https URL|is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://h?x=1", "query or fragment"),
        ("http://h/#x", "query or fragment"),
        ("http://user@h", "user name or password"),
        ("http://:secret@h", "user name or password"),
        ("http://h/a b", "space or control character"),
        ("http://h/a /", "space or control character"),
        ("http://a b", "space or control character"),
        ("http://h/a\r\nHost: x", "space or control character"),
        ("http://h/\x00", "space or control character"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(url, complaint):
    with pytest.raises(SettingsError, match=complaint) as caught:
        parse_server_url(url)
    assert "http://host:port" in caught.value.hint


def test_a_password_does_not_get_into_the_message():
    with pytest.raises(SettingsError) as caught:
        parse_server_url("https://user:secret@h/x")
    assert "secret" not in str(caught.value)
