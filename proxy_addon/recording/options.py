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

DURABILITIES = ("commit", "async")
UPSTREAM_TIMEOUT_S = 30.0
DURABILITY_HELP = (
    "commit: hold each answer until its exchange is on disk. async: do not wait; a crash can lose the latest exchanges."
)
REJECT_HELP = "Do not forward a request in which the rules find an error; answer it with 400."
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
