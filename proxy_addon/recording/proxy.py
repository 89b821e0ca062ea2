"""The proxy process of ``sessiontape record``: mitmproxy with the few addons that a recorder needs.

That is about twice as fast as mitmdump with all of them. The same recorder runs under ``mitmdump -s`` unchanged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mitmproxy import exceptions, log
from mitmproxy.addons.core import Core
from mitmproxy.addons.disable_h2c import DisableH2C
from mitmproxy.addons.dns_resolver import DnsResolver
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy.mode_specs import ProxyMode, ReverseMode

from proxy_addon.errors import RecorderError, SettingsError
from proxy_addon.process import signals
from proxy_addon.recording.hooks import Tape
from proxy_addon.recording.options import RecordOptions

_LOUD_WITH_WIREGUARD = "mitmproxy.proxy.mode_servers"
"""Logs the profile that a device needs, as mere information."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """One address that the proxy answers on.

    Attributes:
        upstream: Where requests go: the upstream's URL, or mitmproxy's name of another mode.
        is_public: Whether others than this machine can reach it.
    """

    url: str
    upstream: str
    is_public: bool


def serve(options: RecordOptions, ready: Callable[[list[Listening]], None]) -> int:
    """Run the recording proxy until a signal ends it.

    Args:
        ready: Called once connections are accepted.

    Returns:
        How many exchanges could not be stored.

    Raises:
        SettingsError: An option does not exist or does not make sense.
        RecorderError: The proxy could not start.
    """
    return asyncio.run(_serve(options, ready))


async def _serve(options: RecordOptions, ready: Callable[[list[Listening]], None]) -> int:
    modes = _modes(options)
    _check_address(options)
    startup = _Startup(lambda: ready(_listening(master, options)))
    startup.install()
    try:
        master = Master(Options())
        tape = Tape(options.policy)
        server = Proxyserver()
        master.addons.add(Core(), server, NextLayer(), TlsConfig(), DisableH2C(), DnsResolver(), tape, startup)
        try:
            master.options.update(http3=False, connection_strategy="lazy", mode=modes)
            if options.certificate is not None:
                try:
                    master.options.update(certs=[str(options.certificate)])
                except (exceptions.OptionsError, ValueError) as e:
                    raise SettingsError(
                        f"{options.certificate} cannot be used as a certificate: {e}",
                        hint="a PEM file with the certificate and its private key is wanted",
                    ) from e
            master.options.update(
                tape_store=options.store_url,
                tape_name=options.name or "",
                tape_durability=options.durability,
                tape_upstream=str(options.upstream or ""),
                tape_check=options.check,
                tape_reject_invalid=options.reject_invalid,
                tape_upstream_timeout=repr(options.upstream_timeout_s),
            )
            _refuse_managed(options.mitmproxy)
            master.options.set(*options.mitmproxy)
        except (exceptions.OptionsError, TypeError, ValueError) as e:
            raise SettingsError(str(e), hint="'mitmproxy --options' describes mitmproxy's options") from e
        if any(mode.startswith("wireguard") for mode in modes):
            logging.getLogger(_LOUD_WITH_WIREGUARD).setLevel(logging.INFO)
        with signals.calling_on_signals(master.shutdown):
            await master.run()
        return tape.lost
    finally:
        startup.uninstall()


def _check_address(options: RecordOptions) -> None:
    """Find out what mitmproxy would tell in a roundabout way.

    Raises:
        SettingsError: Nothing can be listened on there, or it would be its own upstream.
    """
    if options.upstream is None:
        return
    host, port = options.listen
    if port == options.upstream.port and options.upstream.host in {host, *_THIS_MACHINE}:
        raise SettingsError(
            f"{options.upstream} is this proxy itself", hint="name the real server, or another address with --listen"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as e:
        # An error of name resolution is numbered below 0, and brings a text of its own.
        reason = os.strerror(e.errno) if e.errno is not None and e.errno > 0 else e.strerror
        raise SettingsError(
            f"cannot listen on {host}:{port}: {reason}",
            hint="stop what uses it, or name another address with --listen; port 0 takes a free one",
        ) from e


_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def _refuse_managed(given: Iterable[str]) -> None:
    """Refuse ``--set`` of what has an option of its own, or has to be as it is: the store would say what is not so."""
    for name in (each.partition("=")[0].strip() for each in given):
        if name.startswith("tape_") or name in _MANAGED:
            raise SettingsError(f"--set {name}: it cannot be set here", hint="see 'sessiontape record --help'")


_MANAGED = {"mode", "listen_host", "listen_port", "server", "connection_strategy", "keep_host_header", "certs"}


class _Startup(log.MitmLogHandler):
    """Turns errors that are logged while the proxy starts into one exception, and says when it is ready.

    mitmproxy's Master looks for an addon of this name.
    """

    name = "errorcheck"

    def __init__(self, ready: Callable[[], None]) -> None:
        super().__init__(logging.ERROR)  # type: ignore[no-untyped-call]
        self._ready = ready
        self._errors: list[str] = []
        self._over = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error."""
        if not self._over:
            self._errors.append(record.getMessage())

    async def shutdown_if_errored(self) -> None:
        """Raise what was logged, if anything was.

        Raises:
            RecorderError: Something was.
        """
        await asyncio.sleep(0)
        if self._errors:
            self._over = True
            raise RecorderError("; ".join(self._errors), hint="see 'sessiontape record --help'")

    def finish(self) -> None:
        """Called when all has started."""
        self._over = True
        self._ready()


def _modes(options: RecordOptions) -> list[str]:
    modes = list(options.modes)
    for spec in modes:
        try:
            mode = ProxyMode.parse(spec)
        except ValueError as e:
            raise SettingsError(
                f"{spec!r} is no mode of mitmproxy: {e}", hint="'local:NAME' and 'wireguard' are"
            ) from e
        if isinstance(mode, ReverseMode):
            raise SettingsError(f"{spec!r}: the upstream of a reverse proxy is said by --upstream")
    if options.upstream is not None:
        host, port = options.listen
        modes.insert(0, f"reverse:{options.upstream.origin}@{host}:{port}")
    if not modes:
        raise SettingsError("there is nothing to record", hint="name the real server: --upstream URL")
    return modes


def _listening(master: Master, options: RecordOptions) -> list[Listening]:
    found = []
    server: Proxyserver = master.addons.get("proxyserver")
    for instance in server.servers:
        reverse = isinstance(instance.mode, ReverseMode)
        upstream = str(options.upstream) if reverse else instance.mode.full_spec
        for host, port, *_ in instance.listen_addrs:
            shown = f"[{host}]" if ":" in host else host
            scheme = "http" if instance.mode.transport_protocol == "tcp" else instance.mode.type_name
            public = not ipaddress.ip_address(host.partition("%")[0]).is_loopback
            found.append(Listening(url=f"{scheme}://{shown}:{port}", upstream=upstream, is_public=public))
        if not instance.listen_addrs:
            found.append(Listening(url=instance.mode.full_spec, upstream=upstream, is_public=False))
    return found
