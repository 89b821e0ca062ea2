"""The proxy of ``sessiontape record``: mitmproxy with only the addons that a recorder needs.

This is about twice as fast as mitmdump with all its addons. The same recorder also runs under ``mitmdump -s``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mitmproxy import exceptions, log
from mitmproxy.addons.core import Core
from mitmproxy.addons.disable_h2c import DisableH2C
from mitmproxy.addons.dns_resolver import DnsResolver
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master
from mitmproxy.options import CONF_BASENAME, Options
from mitmproxy.proxy.mode_specs import ProxyMode, ReverseMode, Socks5Mode

from proxy_addon.core.wording import suggestion
from proxy_addon.errors import RecorderError, SettingsError
from proxy_addon.journal.entries import About
from proxy_addon.journal.writing import Counts
from proxy_addon.process import logs, threads
from proxy_addon.process.logs import TOLD
from proxy_addon.process.sockets import in_url
from proxy_addon.recording.announcing import Announcing
from proxy_addon.recording.at_rest import AtRest
from proxy_addon.recording.crowds import Crowds, raise_open_files
from proxy_addon.recording.ending import CLOSE_S, ENDS_ON_LOSS
from proxy_addon.recording.hooks import Tape
from proxy_addon.recording.internals import listen_for_many
from proxy_addon.recording.judging import Judge
from proxy_addon.recording.lane.conversation import Settings
from proxy_addon.recording.lane.layer import Lanes
from proxy_addon.recording.loops import Loops
from proxy_addon.recording.meters import Meter
from proxy_addon.recording.notices import Notices
from proxy_addon.recording.options import RecordOptions
from proxy_addon.recording.recorder import Recorder
from proxy_addon.recording.standing import Told

logger = logs.logger(__name__)

_LOUD_WITH_WIREGUARD = "mitmproxy.proxy.mode_servers"
"""The logger of the profile that a device needs, at level INFO."""
_CONNECTIONS = "mitmproxy.proxy.server"
"""The logger of problems on connections, which writes a line for each."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """One address that the proxy listens on.

    Attributes:
        upstream: The URL of the upstream, or mitmproxy's name of another mode.
        is_public: Whether other machines can reach it.
        restriction: The option that would restrict it to this machine.
    """

    url: str
    upstream: str
    is_public: bool
    restriction: str


class Proxy:
    """mitmproxy with our addons, as a process of a recorder has it; a context manager.

    Attributes:
        judge: Judges requests that may be refused.
        recorder: Writes what is recorded; None before `carry`.
        ended_s: When `end` was called, by the monotonic clock; None if it was not.
    """

    def __init__(self, options: RecordOptions, about: About, ready: Callable[[list[Listening]], None]) -> None:
        """Set it up, without a connection or a journal yet. Call it in the event loop.

        Raises:
            SettingsError: An option does not exist or is invalid.
        """
        self._options, self._about = options, about
        self._modes = _modes(options)
        self._at_rest = AtRest(options.pseudonymiser)
        self.judge = Judge(options.policy, self._at_rest, options.store_url)
        self.recorder: Recorder | None = None
        self.ended_s: float | None = None
        self._startup = _Startup(lambda: ready(_listening(self._master, options)))
        self._notices = Notices(options.upstream, self._at_rest)
        self._server = Proxyserver()
        self._loops = Loops(about.run, self._server.listen_addrs)
        self._tape = Tape(is_told=True)
        self._master = Master(Options())
        self._startup.install()
        try:
            self._master.addons.add(
                *(Core(), self._server, NextLayer(), _TlsConfig(), DisableH2C(), DnsResolver()),
                *(self._notices, self._tape, Announcing(), self._startup),
            )
            _configure(self._master, options, self._modes)
        except BaseException:
            self._startup.uninstall()
            raise

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the log as it was."""
        logging.getLogger(_CONNECTIONS).removeFilter(self._notices.warned)
        self._startup.uninstall()

    def standing(self) -> list[Told]:
        """Return how its recorder stands; nothing before `carry`."""
        return [] if self.recorder is None else [self.recorder.standing()]

    def counts(self) -> Counts | None:
        """Return the books of its recorder so far; None before `carry`."""
        return None if self.recorder is None else self.recorder.counts()

    def end_on_loss(self) -> None:
        """Say that the recorder ends because an exchange was lost, and end."""
        logger.error(ENDS_ON_LOSS)
        self.end()

    def end(self) -> None:
        """End `carry`, in good order."""
        self.ended_s = self.ended_s or time.monotonic()
        self._master.shutdown()

    async def carry(
        self, folder: Path, lost: Callable[[], object] | None = None, *, share_port: bool = False
    ) -> Counts:
        """Carry traffic, and write it to a journal, until `end` is called; return the books.

        Args:
            folder: Where the journal is.
            lost: Called when the first exchange is lost.
            share_port: Whether other processes listen on the same port.

        Raises:
            SettingsError: The journal cannot be written.
            RecorderError: The proxy could not start.
        """
        options = self._options
        if options.reject_invalid:
            await asyncio.to_thread(self.judge.learn)
        is_durable = options.durability == "commit"
        meter = None if options.metrics is None else Meter()
        recorder = self.recorder = Recorder(
            folder, self._about, self._at_rest, self.judge, is_durable=is_durable, lost=lost, meter=meter
        )
        try:
            lanes = _lanes(options, recorder, self._notices, self._loops, self._server)
            self._tape.use(recorder, self._loops, lanes)
            if lanes is not None:
                self._master.addons.add(lanes)
            crowds = Crowds(raise_open_files(), lanes.make_room if lanes is not None else lambda: False)
            self._master.addons.add(crowds)
            listen_for_many(share_port=share_port)
            if any(mode.startswith("wireguard") for mode in self._modes):
                logging.getLogger(_LOUD_WITH_WIREGUARD).setLevel(logging.INFO)
            logging.getLogger(_CONNECTIONS).addFilter(self._notices.warned)
            if self.ended_s is None:  # otherwise mitmproxy would forget that it was told to end before it ran
                await self._master.run()
        finally:
            counts = await threads.aside(recorder.close, CLOSE_S)
        return counts


def _lanes(
    options: RecordOptions, recorder: Recorder, notices: Notices, loops: Loops, server: Proxyserver
) -> Lanes | None:
    """Return what carries HTTP/1.1 to the upstream; None if mitmproxy is to do that."""
    upstream = options.upstream
    if upstream is None or options.engine == "hooks":
        return None
    settings = Settings(
        authority=upstream.authority.encode("ascii"),
        prefix=upstream.path.encode("ascii"),
        arrive=recorder.arrive,
        waits=recorder.is_durable,
        judges=options.reject_invalid,
        mark=recorder.about.run.encode("ascii"),
        max_body=options.max_body,
        upstream_timeout_us=round(options.upstream_timeout_s * 1_000_000),
    )
    return Lanes(settings, recorder, notices, loops, server.connections)


def _configure(master: Master, options: RecordOptions, modes: list[str]) -> None:
    """Set mitmproxy's options.

    Raises:
        SettingsError: An option does not exist or is invalid.
    """
    try:
        # A device that offers HTTP/2 as well takes HTTP/1.1, which the lane speaks.
        speaks_http2 = options.engine != "lane"
        master.options.update(http2=speaks_http2, http3=False, connection_strategy="lazy", mode=modes)
        master.options.update(
            tape_store=options.store_url,
            tape_upstream=str(options.upstream or ""),
            tape_check=options.check,
            tape_reject_invalid=options.reject_invalid,
            tape_upstream_timeout=repr(options.upstream_timeout_s),
        )
        _check_set(options.mitmproxy, master.options.keys())
        master.options.set(*options.mitmproxy)
    except (exceptions.OptionsError, TypeError, ValueError) as e:
        raise SettingsError(str(e), hint="'mitmproxy --options' describes mitmproxy's options") from e
    _read_authority(master)
    if options.certificate is not None:
        try:
            master.options.update(certs=[str(options.certificate)])
        except (exceptions.OptionsError, ValueError) as e:
            raise SettingsError(
                f"{options.certificate} cannot be used as a certificate: {e}",
                hint="give a PEM file with the certificate and its private key",
            ) from e


def _read_authority(master: Master) -> None:
    """Create or read mitmproxy's CA now, because mitmproxy would do so later and fail with a traceback.

    Raises:
        SettingsError: The CA cannot be created or read.
    """
    folder = Path(master.options.confdir).expanduser()
    authority = folder / f"{CONF_BASENAME}-ca.pem"
    try:
        master.addons.get("tlsconfig").configure({"confdir"})
    except OSError as e:
        raise SettingsError(
            f"mitmproxy cannot keep its certificates in {folder}: {e.strerror or e}",
            hint="name a folder that can be written: --set confdir=FOLDER",
        ) from e
    except TypeError as e:  # a passphrase is missing, or was given without need
        raise SettingsError(f"{authority}: {e}", hint="give its passphrase: --set cert_passphrase=TEXT") from e
    except (ValueError, IndexError) as e:
        raise SettingsError(
            f"{authority} does not hold the certificate and key of a CA",
            hint="remove it to get a new CA, which devices then have to trust; or name another folder: "
            "--set confdir=FOLDER",
        ) from e


class _TlsConfig(TlsConfig):
    """mitmproxy's addon for TLS, which reads the CA when `_read_authority` tells it to."""

    name = "tlsconfig"

    def running(self) -> None:
        """Do nothing: mitmproxy's would read the CA a second time, which takes a third of the start."""


def _check_set(given: Iterable[str], known: Iterable[str]) -> None:
    """Check the options given with ``--set``.

    Raises:
        SettingsError: There is no such option, or the recorder sets it itself.
    """
    known = set(known)
    for name in (each.partition("=")[0].strip() for each in given):
        if name.startswith("tape_") or name in _MANAGED:
            raise SettingsError(f"--set {name}: this option cannot be set here", hint="see 'sessiontape record --help'")
        if name not in known:
            raise SettingsError(
                f"--set {name}: mitmproxy has no such option in this proxy{suggestion(name, known)}",
                hint="'mitmproxy --options' lists mitmproxy's options; some belong to addons that 'sessiontape record' does "
                "not load",
            )


_MANAGED = {"mode", "listen_host", "listen_port", "server", "connection_strategy", "keep_host_header", "certs"}


class _Startup(log.MitmLogHandler):
    """Turns errors that are logged while the proxy starts into one exception, and reports when it is ready.

    mitmproxy's Master looks for an addon with the name ``errorcheck``.
    """

    name = "errorcheck"

    def __init__(self, ready: Callable[[], None]) -> None:
        super().__init__(logging.ERROR)  # type: ignore[no-untyped-call]
        self._ready = ready
        self._errors: list[str] = []
        self._over = False

    def install(self) -> None:
        """Become the first handler of records."""
        logging.getLogger().handlers.insert(0, self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error."""
        if not self._over:
            self._errors.append(" ".join(record.getMessage().split("\n")))
            setattr(record, TOLD, True)

    async def shutdown_if_errored(self) -> None:
        """Raise the errors that were logged.

        Raises:
            RecorderError: An error was logged.
        """
        await asyncio.sleep(0)
        if self._errors:
            self._over = True
            raise RecorderError("; ".join(self._errors), hint="see 'sessiontape record --help'")

    def finish(self) -> None:
        """Report that the proxy is ready; called when everything has started."""
        self._over = True
        self._ready()


def address_of(host: str) -> str:
    """Return the address of a name, preferably IPv4: not everything in mitmproxy that listens accepts names."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])


def _modes(options: RecordOptions) -> list[str]:
    modes = list(options.modes)
    for spec in modes:
        try:
            mode = ProxyMode.parse(spec)
        except ValueError as e:
            raise SettingsError(
                f"{spec!r} is not a mode of mitmproxy: {e}", hint="modes are, for example, local:NAME and wireguard"
            ) from e
        if isinstance(mode, ReverseMode):
            raise SettingsError(f"{spec!r}: name the upstream of a reverse proxy with --upstream")
    if options.upstream is not None:
        host, port = options.listen
        modes.insert(0, f"reverse:{options.upstream.origin}@{address_of(host)}:{port}")
    if not modes:
        raise SettingsError("there is nothing to record", hint="name the real server: --upstream URL")
    return modes


def _listening(master: Master, options: RecordOptions) -> list[Listening]:
    found = []
    server: Proxyserver = master.addons.get("proxyserver")
    for instance in server.servers:
        addresses = [(host, port) for host, port, *_ in instance.listen_addrs]
        is_public = any(not ipaddress.ip_address(host.partition("%")[0]).is_loopback for host, _ in addresses)
        if isinstance(instance.mode, ReverseMode):
            # One URL, however many addresses the host has. If the upstream speaks https, mitmproxy also listens for
            # HTTP/3, which is not recorded.
            url = f"http://{in_url(options.listen[0])}:{addresses[0][1]}"
            upstream, restriction = str(options.upstream), "--listen 127.0.0.1:PORT"
            found.append(Listening(url=url, upstream=upstream, is_public=is_public, restriction=restriction))
            continue
        mode = instance.mode
        scheme = "http" if mode.transport_protocol == "tcp" and not isinstance(mode, Socks5Mode) else mode.type_name
        # With UDP beside TCP, an address is there twice.
        urls = [f"{scheme}://{in_url(host)}:{port}" for host, port in dict.fromkeys(addresses)] or [mode.full_spec]
        what = f"{mode.type_name}:{mode.data}" if mode.data else mode.type_name
        restriction = f"--mode {what}@127.0.0.1:{addresses[0][1] if addresses else 'PORT'}"
        found += [
            Listening(url=url, upstream=mode.full_spec, is_public=is_public, restriction=restriction) for url in urls
        ]
    return found
