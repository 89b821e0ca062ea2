"""Entries of capture files for tests: those of the samples, and small ones made up in the manner of a tool."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.fixtures import charles, har, proxyman
from proxy_addon.core.fixtures.captures import Entry, Tally

SAMPLES = Path(__file__).parent / "samples" / "captures"
NAMES = [
    *(path.relative_to(SAMPLES).as_posix() for path in sorted(SAMPLES.rglob("*.*har"))),
    "hand-charles-4.6.chlsj",
    "hand-proxyman-5.proxymanlogv2",
    "playwright-1.65-chromium-attach.zip",
]
"""The samples that are HAR, or of Charles or Proxyman."""
START = "https://tracking.example/api/v1/sessions"
PING = '{"playerTime":{"playhead":1,"ts":1772366401000},"eventType":"ping"}'


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample, decoded but not read.

    Attributes:
        log: The members of ``log`` but its entries; empty for other forms than HAR.
        folder: Files beside it, by name.
    """

    name: str
    values: list[Any]
    log: Mapping[str, Any]
    folder: Mapping[str, bytes]

    def exchanges(self, tally: Tally, values: Iterable[Any] | None = None) -> Iterator[Exchange]:
        """Read the sample, or other values in its form."""
        entries = [
            Entry(where=f"entry {index}", value=value)
            for index, value in enumerate(self.values if values is None else values)
        ]
        if self.name.endswith(".proxymanlogv2"):
            return proxyman.exchanges(entries, tally)
        if self.name.endswith(".chlsj"):
            return charles.exchanges(entries, tally)
        return har.exchanges(entries, self.log, tally, self.folder.get)


def sample(name: str) -> Sample:
    """Return a sample by its name."""
    path, folder = SAMPLES / name, {}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            folder = {each: archive.read(each) for each in archive.namelist()}
        if name.endswith(".proxymanlogv2"):
            return Sample(name=name, values=[jsontext.loads(text) for text in folder.values()], log={}, folder={})
    elif path.parent != SAMPLES:
        folder = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    content = folder.get("har.har") or path.read_bytes()
    value = jsontext.loads(
        (zlib.decompress(content) if path.suffix == ".zhar" else content).removeprefix(b"\xef\xbb\xbf")
    )
    if isinstance(value, list):
        return Sample(name=name, values=value, log={}, folder={})
    log = dict(value["log"])
    return Sample(name=name, values=log.pop("entries"), log=log, folder=folder)


def entry(
    url: str = f"{START}/4a0f2bc1/events",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    post: Mapping[str, Any] | None = None,
    status: Any = 204,
    answer: Mapping[str, Any] | None = None,
    at: Any = "2026-03-01T12:00:00.000Z",
    request: Mapping[str, Any] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """Return an entry of a HAR.

    Args:
        headers: Those of the request.
        post: Its ``postData``.
        answer: Members of its response.
        request: More members of the request.
    """
    found = {
        "method": method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": name, "value": value} for name, value in (headers or {}).items()],
        **(request or {}),
    }
    if post is not None:
        found["postData"] = dict(post)
    return {
        "startedDateTime": at,
        "time": 12.5,
        "request": found,
        "response": {"status": status, "httpVersion": "HTTP/1.1", "headers": [], "content": {}, **(answer or {})},
        **members,
    }


def start_entry(*, location: str | None = "/api/v1/sessions/4a0f2bc1", **arguments: Any) -> dict[str, Any]:
    """Return the entry of a start that is answered with 201; arguments as for `entry`."""
    text = '{"playerTime":{"playhead":0,"ts":1772366400000},"eventType":"sessionStart","params":{}}'
    headers = [] if location is None else [{"name": "Location", "value": location}]
    return entry(START, **{"status": 201, "post": {"text": text}, "answer": {"headers": headers}, **arguments})


def read(*values: Any, tool: str = "", folder: Mapping[str, bytes] | None = None) -> list[Exchange]:
    """Return the exchanges in entries of a HAR of a tool."""
    return read_with_tally(*values, tool=tool, folder=folder)[0]


def read_with_tally(
    *values: Any, tool: str = "", folder: Mapping[str, bytes] | None = None
) -> tuple[list[Exchange], Tally]:
    """Return the exchanges in entries of a HAR of a tool, and what became of all entries."""
    tally = Tally()
    entries = (Entry(where=f"entry {index}", value=value) for index, value in enumerate(values))
    found = list(har.exchanges(entries, {"creator": {"name": tool, "version": "1"}}, tally, (folder or {}).get))
    return found, tally
