"""Log problems beside the exchanges, with their remedies, without a line for each occurrence.

An upstream that cannot be reached is logged at the start, when an outage begins and when it ends. Other problems are
logged at their first occurrence, and then counted and logged once a minute: requests that pass by unrecorded, devices
that take the proxy for another kind of proxy or do not trust its certificate, and warnings of mitmproxy.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy import ctx
from mitmproxy.http import HTTPFlow
from mitmproxy.tls import TlsData

from proxy_addon.core.exchange import Outcome
from proxy_addon.core.routes import parse_route
from proxy_addon.core.urls import ServerUrl
from proxy_addon.process import logs
from proxy_addon.process.sockets import why_unconnected
from proxy_addon.recording import stream
from proxy_addon.recording.at_rest import AtRest
from proxy_addon.recording.flows import upstream_url
from proxy_addon.recording.lane import actions

logger = logs.logger(__name__)

EVERY_S = 60.0
"""How long repeated problems are counted before the count is logged."""
MOST_UPSTREAMS = 100
"""How many outages are followed at most: a forward proxy may meet any number of upstreams."""
_TOLD_HERE = ("Client TLS handshake failed.", "Server TLS handshake failed.")
_CUT = 200
"""How many characters of text from a device a line contains at most."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of problem that may occur repeatedly.

    Attributes:
        more: The line that says how often it has occurred since, with ``{count}`` and ``{first}``.
    """

    level: int
    more: str


PASSES_BY = Kind(
    level=logging.INFO, more="forwarded but not recorded: {count} more in the last minute, the first {first}"
)
CONNECT = Kind(level=logging.WARNING, more="CONNECT refused: {count} more in the last minute, the first {first}")
HANDSHAKE = Kind(
    level=logging.WARNING, more="TLS handshake failed: {count} more in the last minute, the first with {first}"
)
REFUSED = Kind(level=logging.WARNING, more="requests refused: {count} more in the last minute, the first {first}")
BROKEN = Kind(
    level=logging.WARNING,
    more="answers that were broken or did not come: {count} more in the last minute, the first: {first}",
)
LOOP = Kind(level=logging.WARNING, more="requests that came back: {count} more in the last minute")
UPGRADED = Kind(
    level=logging.INFO, more="upgraded and not recorded: {count} more in the last minute, the first {first}"
)
WARNING = Kind(level=logging.WARNING, more="mitmproxy warned: {count} more in the last minute, the first: {first}")


class Sparing:
    """Logs a problem at once, and then once a minute how often it has occurred since."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """Begin with nothing logged.

        Args:
            later: Calls a function after a number of seconds.
        """
        self._later = later
        self._counted: dict[Kind, tuple[int, str]] = {}

    def tell(self, kind: Kind, text: str, about: str) -> None:
        """Log or count a problem.

        Args:
            text: Logged if the problem has not occurred for a minute.
            about: What it concerns, in a few words.
        """
        if kind not in self._counted:
            self._counted[kind] = (0, "")
            self._later(EVERY_S, lambda: self._minute_is_over(kind))
            logger.log(kind.level, text)
            return
        count, first = self._counted[kind]
        self._counted[kind] = (count + 1, first or about)

    def flush(self) -> None:
        """Log the counts at the end."""
        for kind in self._counted:
            self._say(kind)

    def _minute_is_over(self, kind: Kind) -> None:
        if self._say(kind):
            self._counted[kind] = (0, "")
            self._later(EVERY_S, lambda: self._minute_is_over(kind))
        else:
            del self._counted[kind]

    def _say(self, kind: Kind) -> bool:
        count, first = self._counted[kind]
        if count:
            logger.log(kind.level, kind.more.format(count=count, first=first))
        return bool(count)


@dataclass(slots=True)
class _Outage:
    since_s: float
    requests: int = 0


class Outages:
    """Logs upstreams that cannot be reached: once when an outage begins, and once when it ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, _Outage] = {}

    def failed(self, upstream: str, reason: str) -> None:
        """A request could not reach its upstream."""
        if upstream not in self._running:
            if len(self._running) >= MOST_UPSTREAMS:
                return
            self._running[upstream] = _Outage(self._clock())
            logger.warning(f"cannot reach {upstream}: {reason}; devices get 502 until it is back{_remedy(reason)}")
        self._running[upstream].requests += 1

    def answered(self, upstream: str) -> None:
        """An upstream has answered."""
        outage = self._running.pop(upstream, None)
        if outage is not None:
            lasted_s = self._clock() - outage.since_s
            logger.warning(f"{upstream} is back after {lasted_s:.1f} s; {_got_502(outage.requests)} meanwhile")

    def flush(self) -> None:
        """Log the outages that have not ended."""
        for upstream, outage in self._running.items():
            logger.warning(f"{upstream} could not be reached until the end; {_got_502(outage.requests)}")


def _got_502(requests: int) -> str:
    return f"{requests} {'request' if requests == 1 else 'requests'} got 502"


def _remedy(reason: str) -> str:
    if "ertificate verify failed" in reason:
        return (
            ". Its certificate is not trusted: name its CA with --set ssl_verify_upstream_trusted_ca=FILE, or accept any "
            "certificate with --set ssl_insecure=true"
        )
    return ""


class Notices:
    """The addon that logs these problems; it must come before the recorder, which rewrites requests."""

    def __init__(self, upstream: ServerUrl | None, at_rest: AtRest) -> None:
        self._upstream = upstream
        self._at_rest = at_rest
        self._sparing = Sparing(lambda after_s, call: asyncio.get_running_loop().call_later(after_s, call))
        self._outages = Outages()

    def running(self) -> None:
        """Check in the background whether the upstream's name resolves."""
        if self._upstream is not None:
            threading.Thread(target=_resolve, args=(self._upstream,), name="sessiontape-resolve", daemon=True).start()

    def done(self) -> None:
        """Log the counts and the outages that have not ended."""
        self._sparing.flush()
        self._outages.flush()

    def requestheaders(self, flow: HTTPFlow) -> None:
        """Log requests that are not recorded, and devices that ask for a tunnel."""
        request = flow.request
        if request.method == "CONNECT":  # reaches this hook in reverse mode, where mitmproxy refuses it
            self._connect(self._peer(flow.client_conn.peername), request.authority)
        elif parse_route(request.method, request.path) is None:
            self._passes_by(request.method, request.path)

    def response(self, flow: HTTPFlow) -> None:
        """Note that an upstream can be reached."""
        if stream.went_upstream(flow):
            self._outages.answered(upstream_url(flow, self._upstream))

    def error(self, flow: HTTPFlow) -> None:
        """Log an upstream that cannot be reached."""
        if stream.leads_back(flow):
            self.loop()
        elif stream.outcome(flow) is Outcome.UPSTREAM_UNREACHABLE:
            reason = flow.error.msg if flow.error is not None else "no connection"
            self._outages.failed(upstream_url(flow, self._upstream), reason)

    # Of lanes, where requests pass without these hooks

    def tell(self, kind: actions.Kind, text: str, device: str | None, request: str = "") -> None:
        """Log what a conversation with a device says.

        Args:
            request: Method and path that it is about; empty if it is about none.
        """
        peer = self._peer((device, 0) if device else None)
        match kind:
            case "connect":
                self._connect(peer, text)
            case "passes-by":
                method, _, path = text.partition(" ")
                self._passes_by(method, path)
            case "upstream":
                about = f"{self._upstream}: {text}"
                method, _, path = request.partition(" ")
                whose = f", after {method} {self._at_rest.path(path)[:_CUT]}" if request else ""
                self._sparing.tell(BROKEN, f"{about}{whose}", about)
            case "loop":
                self.loop()
            case "upgrade":
                method, _, path = text.partition(" ")
                about = f"{method} {self._at_rest.path(path)[:_CUT]}"
                self._sparing.tell(UPGRADED, f"{about} was upgraded: what follows passes by unrecorded", about)
            case _:
                about = f"from {peer}: {text}"
                self._sparing.tell(REFUSED, f"refused a request {about}", about)

    def unreachable(self, reason: str) -> None:
        """Log an upstream that cannot be reached."""
        self._outages.failed(str(self._upstream), reason)

    def reachable(self) -> None:
        """Note that the upstream can be reached."""
        self._outages.answered(str(self._upstream))

    def loop(self) -> None:
        """Log that a request has come back to this recorder, or would."""
        self._sparing.tell(
            LOOP,
            f"refused a request that leads back to this recorder: {self._upstream} is this recorder, or forwards to it; name "
            "the real server with --upstream",
            "",
        )

    def _connect(self, peer: str, authority: str) -> None:
        about = f"from {peer} to {authority[:_CUT]}"
        self._sparing.tell(
            CONNECT,
            f"a CONNECT {about} was refused: the device uses this address as a forward proxy; set it as "
            "the player's server URL instead, or record with --mode regular",
            about,
        )

    def _passes_by(self, method: str, path: str) -> None:
        about = f"{method} {self._at_rest.path(path)[:_CUT]}"
        self._sparing.tell(
            PASSES_BY,
            f"{about} is forwarded but not recorded: only paths with /api/v<n>/ in them belong to the API",
            about,
        )

    def tls_failed_client(self, data: TlsData) -> None:
        """Log a device whose TLS handshake failed."""
        peer = self._peer(data.context.client.peername)
        name = data.context.client.sni or (self._upstream.host if self._upstream is not None else "this address")
        self._sparing.tell(
            HANDSHAKE,
            f"the TLS handshake with {peer} failed: {_why(data.conn.error or '', name[:_CUT])}",
            peer,
        )

    def warned(self, record: logging.LogRecord) -> bool:
        """Suppress the warnings of mitmproxy's connections and log them here instead; a filter of that logger."""
        if record.levelno != logging.WARNING:
            return True
        message = record.getMessage()
        if not message.startswith(_TOLD_HERE):
            self._sparing.tell(WARNING, message, message[:_CUT])
        return False

    def _peer(self, address: tuple[str, int] | None) -> str:
        return self._at_rest.address(address[0]) if address else "a device"


def _why(error: str, name: str) -> str:
    trust = (
        f"install {ctx.options.confdir}/mitmproxy-ca-cert.pem on the device, or show it a certificate that it trusts "
        "with --cert FILE"
    )
    if any(said in error for said in ("unknown ca", "bad certificate", "certificate unknown")):
        return f"it does not trust the certificate for {name}; {trust}"
    if error == "connection closed":
        return f"it hung up; if it does not trust the certificate for {name}, {trust}"
    if "unsupported protocol" in error or "version" in error:
        return "it supports only TLS versions that the proxy refuses; --set tls_version_client_min=TLS1 allows old ones"
    return f"{error[:_CUT]}; if it does not trust the certificate for {name}, {trust}"


def _resolve(upstream: ServerUrl) -> None:
    """Warn if the name does not resolve. To connect would be a request that no device has made."""
    try:
        socket.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:  # UnicodeError: the name has an empty or too long label
        reason = why_unconnected(upstream.host, str(e))
        logger.warning(f"cannot reach {upstream} yet: {reason}; devices get 502 until then. Is --upstream right?")
