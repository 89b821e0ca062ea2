"""The URL of an upstream or a target.

The grammar is ``http[s]://host[:port][/path]``. The path, if any, is prepended to the paths that devices request.

>>> parse_server_url("https://Example.hb-api.omtrdc.net/some/path/")
ServerUrl(scheme='https', host='example.hb-api.omtrdc.net', port=443, path='/some/path')
>>> str(parse_server_url("http://[::1]:9000/"))
'http://[::1]:9000'
>>> parse_server_url("localhost:9000")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: 'localhost:9000' is not an http or https URL
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from proxy_addon.errors import SettingsError

_LONGEST_PATH = 100
_LONGEST_HOST = 253
"""Longest host name in the DNS."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The server that requests are sent to.

    Attributes:
        host: Lower case, without the brackets of an IPv6 address.
        path: Prefix of each request's path: empty, or with a leading and without a trailing slash. It is ASCII; other
            characters are percent-encoded.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """Host, and port unless it is the scheme's default, as in a ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port, without the path."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return self.origin + self.path


def parse_server_url(url: str) -> ServerUrl:
    """Parse the URL of an upstream or target.

    Raises:
        SettingsError: It is not an http or https URL, or contains a user, password, query, fragment, space or control
            character.
    """
    wanted = "write it as http://host:port or https://host/path"
    url = url.strip()
    if any(character.isspace() or not character.isprintable() for character in url):
        raise SettingsError(f"{url!r} has a space or control character in it", hint=wanted)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise SettingsError(f"{url!r} is not a URL: {e}", hint=wanted) from e
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise SettingsError(f"{url!r} is not an http or https URL", hint=wanted)
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"the URL of {parts.hostname} has a user name or password in it", hint=wanted)
    if parts.query or parts.fragment:
        raise SettingsError(f"{url!r} has a query or fragment", hint=wanted)
    if port == 0:
        raise SettingsError(f"{url!r} has port 0", hint=wanted)
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    if len(path) > _LONGEST_PATH or len(parts.hostname) > _LONGEST_HOST:
        raise SettingsError(f"the URL of {parts.hostname[:_LONGEST_HOST]} is too long", hint=wanted)
    return ServerUrl(scheme, parts.hostname.lower(), port or _DEFAULT_PORTS[scheme], path)


def parse_host(value: str, scheme: str) -> ServerUrl:
    """Return the server that a ``Host`` header names.

    Args:
        scheme: The scheme of the request; its default port is meant if the value has none.

    Raises:
        SettingsError: The value is not ``host[:port]``.
    """
    try:
        url = parse_server_url(f"{scheme}://{value}")
    except SettingsError:
        url = None
    if url is None or "/" in value:
        raise SettingsError(f"{value!r} is not a Host", hint="write host or host:port")
    return url
