"""Options that ``sessiontape record`` and the addon inside mitmproxy share.

Names and units correspond: ``--upstream-timeout`` is ``tape_upstream_timeout`` inside mitmproxy, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proxy_addon.core.urls import ServerUrl

if TYPE_CHECKING:
    from proxy_addon.core.judging.policy import Policy  # brings the rules, without which --help does
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser

DURABILITIES = ("commit", "async")
UPSTREAM_TIMEOUT_S = 30.0
DURABILITY_HELP = (
    "commit: hold each answer until its exchange is in the journal, on disk. async: do not wait; a crash of the recorder "
    "or the machine can lose the latest exchanges."
)
ENGINES = ("auto", "lane", "hooks")
ENGINE_HELP = (
    "What carries HTTP. lane: sessiontape's own HTTP/1.1, several times as fast as mitmproxy's; devices are not offered "
    "HTTP/2. hooks: mitmproxy's HTTP. auto: the lane for HTTP/1.1 to --upstream, mitmproxy's HTTP for everything else."
)
MAX_BODY = 10 * 1024 * 1024
MAX_BODY_HELP = (
    "Length of the longest body to record whole. Of a longer body, the recorder keeps the first 64 KiB, the length and the "
    "hash, and forwards all of it. Only the lane has this limit; mitmproxy's HTTP records every body whole."
)
WORKERS_HELP = "Number of processes that share the port, for more requests than one processor core can carry."
LOSS = ("go-on", "stop")
LOSS_HELP = "What to do after losing an exchange that could not be journaled: go on forwarding, or stop."
JOURNAL_HELP = (
    "Folder, on a local disk, for what is not in the store yet. By default, the journal of an SQLite store is beside its "
    "file, and that of a PostgreSQL store in the user's state folder."
)
REJECT_HELP = "Do not forward a request in which the rules find an error; answer it with 400."
PSEUDONYMISE_HELP = (
    "Store tokens in place of IDs of people and devices, cookies, credentials and addresses. Players and upstream still "
    "get the values themselves."
)
KEY_FILE_HELP = (
    "File with the key of the tokens, so that several recordings have the same tokens. Created if it does not exist. By "
    "default, the key is random and not kept."
)
TIMEOUT_HELP = "Answer with 504 if the upstream takes longer than this."


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """The options of ``sessiontape record``.

    Attributes:
        upstream: The upstream of the reverse proxy; None if only other modes are wanted.
        listen: Host and port of the reverse proxy; port 0 takes a free one.
        modes: Additional modes of mitmproxy.
        policy: How strictly to judge.
        certificate: PEM file with certificate and key; None for mitmproxy's own CA.
        mitmproxy: Options of mitmproxy as ``OPT=VAL``.
        pseudonymiser: Replaces personal values in what is stored; None to store them.
        metrics: Host and port of the pages for Prometheus; None for no such pages.
        keep_days: After how many days to delete what was recorded; None to keep it.
        journal: Folder of the journal; None for that of the store.
        stops_on_loss: Whether the recorder ends when an exchange is lost.
        engine: One of `ENGINES`.
        max_body: Length in bytes of the longest body that the lane records whole.
        workers: How many processes share the port.
    """

    upstream: ServerUrl | None
    listen: tuple[str, int]
    modes: tuple[str, ...]
    store_url: str
    name: str | None
    durability: str
    upstream_timeout_s: float
    check: bool
    policy: Policy
    reject_invalid: bool
    certificate: Path | None
    mitmproxy: tuple[str, ...]
    pseudonymiser: Pseudonymiser | None = None
    metrics: tuple[str, int] | None = None
    keep_days: int | None = None
    journal: Path | None = None
    stops_on_loss: bool = False
    engine: str = "auto"
    max_body: int = MAX_BODY
    workers: int = 1
