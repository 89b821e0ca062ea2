"""Who may read the pages: whoever uses one of our addresses and, from another machine, knows the token.

Pages of other sites in the same browser are kept out in two ways: the ``Host`` must be one of ours, which stops a foreign name
that resolves to our address (DNS rebinding), and no other origin may read or frame our answers.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy_addon.ui.answers import failure

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of every answer that is not a page."""
_METHODS = ("GET", "HEAD")
_TOKEN = "token"  # noqa: S105  # the name of a parameter


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where the pages are, and who may read them.

    Attributes:
        host: The address that is listened on.
        port: Its port.
        token: What a reader has to know; None if only this machine reaches the address.
    """

    host: str
    port: int
    token: str | None

    @property
    def names(self) -> frozenset[str]:
        """Names in lower case that ``Host`` may have. IP addresses are always allowed, because nobody can rebind them."""
        return frozenset({"localhost", self.host.lower(), socket.gethostname().lower()})

    @property
    def cookie(self) -> str:
        """The name of the cookie with the token: browsers share cookies between the ports of a host."""
        return f"sessiontape-{self.port}"

    def admits(self, host: str) -> bool:
        """Whether a ``Host`` header is one of ours.

        >>> access = Access(host="127.0.0.1", port=8090, token=None)
        >>> [access.admits(host) for host in ("127.0.0.1:8090", "localhost:1", "[::1]:8090", "evil.example:8090", "")]
        [True, True, True, False, False]
        """
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self.names
        return True


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


class Guard:
    """Middleware that refuses those who may not read, and adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on to the pages."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", NOTHING)
            await send(message)

        request = Request(scope)
        answer = self._refusal(request)
        await (answer or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        access = self._access
        if request.method not in _METHODS:
            return _refused(request, "these pages are read-only: use GET or HEAD", 405, {"Allow": ", ".join(_METHODS)})
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not access.admits(hosts[0]):
            return _refused(request, "these pages have another address: open the one that sessiontape printed", 421)
        if _is_foreign(request.headers):
            return _refused(request, "other sites may not read these pages", 403)
        if access.token is None:
            return None
        given = request.query_params.get(_TOKEN)
        if given is not None and _is_same(given, access.token):
            return self._welcome(request, access.token)
        if _is_same(request.cookies.get(access.cookie, ""), access.token):
            return None
        return _refused(request, "open the whole address that sessiontape printed: it ends with a token", 401)

    def _welcome(self, request: Request, token: str) -> Response:
        """Put the token into a cookie, and go to the same page without it in the address.

        This is a page and not a redirect, because a browser that follows a redirect from another site sends no strict cookie.
        """
        rest = urlencode([pair for pair in parse_qsl(request.url.query) if pair[0] != _TOKEN])
        path = "/" + quote(request.scope["path"].lstrip("/\\"))
        target = escape(f"{path}?{rest}" if rest else path)
        page = HTMLResponse(
            f'<!doctype html><meta charset="utf-8"><title>sessiontape</title>'
            f'<meta http-equiv="refresh" content="0; url={target}"><a href="{target}">Continue</a>'
        )
        page.set_cookie(self._access.cookie, token, httponly=True, samesite="strict", path="/")
        return page


def _is_same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _is_foreign(headers: Headers) -> bool:
    """Whether a page of another site requests something, other than by a link that the user follows."""
    site = headers.get("sec-fetch-site", "none")
    return site not in {"same-origin", "none"} and headers.get("sec-fetch-mode") != "navigate"


def _refused(request: Request, why: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return failure(request, status, why, is_served=False, headers=headers)
