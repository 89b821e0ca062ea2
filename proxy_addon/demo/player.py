"""A sample player: plays one short clip in real time and reports it as an SDK does.

``python -m proxy_addon.demo.player URL [--speed N] [--forget TYPE …]`` reports to ``URL/api/v1/sessions``. The playback
is a value, `CLIP`, and sending it is a loop. Like the mobile SDKs, the player uses one connection for one request at a
time, and waits 5 s for an answer. It only uses the standard library, so that its requests do not come from an HTTP
library of the product.

Source: Media Collection API, request body, session rules, what real clients send.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import SettingsError

TIMEOUT_S = 5.0
"""How long all SDKs of Adobe wait for an answer."""

_HEADERS = {"Content-Type": "application/json", "User-Agent": "sessiontape-sample-player/1.0"}

# The pattern of the mobile SDKs, the strictest in use: an absolute URL or a prefix before /api/ does not match.
_LOCATION = re.compile(r"/api/(.*)/sessions/(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One moment of the playback, and the event that reports it.

    Attributes:
        at_s: Seconds since the playback began.
        playhead_s: Position in the main content, in seconds; it does not move while an ad plays.
        params, metadata, quality: The contents of ``params``, ``customMetadata`` and ``qoeData``; left out if empty.
    """

    at_s: float
    type: str
    playhead_s: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    quality: Mapping[str, int] = field(default_factory=dict)


CLIP = (
    Cue(
        at_s=0.00,
        type="sessionStart",
        params={
            "analytics.trackingServer": "demo.sc.example",
            "analytics.reportSuite": "demo",
            "analytics.visitorId": "demo-visitor",
            "visitor.marketingCloudOrgId": "demo@AdobeOrg",
            "media.id": "demo-clip",
            "media.name": "Three Seconds of Sea",
            "media.length": 3.0,
            "media.contentType": "vod",
            "media.streamType": "video",
            "media.playerName": "sample-player",
            "media.channel": "demo",
            "media.sdkVersion": "1.0",
        },
        metadata={"page": "demo"},
    ),
    # A pre-roll. The first `play` belongs to the ad; before the break, it would count as content.
    Cue(
        at_s=0.01,
        type="adBreakStart",
        params={"media.ad.podFriendlyName": "pre-roll", "media.ad.podIndex": 1, "media.ad.podSecond": 0},
    ),
    Cue(
        at_s=0.02,
        type="adStart",
        params={
            "media.ad.id": "demo-ad",
            "media.ad.name": "Visit the Sea",
            "media.ad.length": 2.0,
            "media.ad.podPosition": 1,
            "media.ad.playerName": "sample-player",
        },
        metadata={"campaign": "demo"},
    ),
    Cue(at_s=0.03, type="play"),
    Cue(at_s=1.03, type="ping"),  # every second in ads
    Cue(at_s=2.02, type="adComplete"),
    Cue(at_s=2.03, type="adBreakComplete"),
    Cue(
        at_s=2.04,
        type="play",
        quality={
            "media.qoe.bitrate": 2_000_000,
            "media.qoe.droppedFrames": 0,
            "media.qoe.framesPerSecond": 25,
            "media.qoe.timeToStart": 240,
        },
    ),
    # The clip ends before a content ping is due after 10 s. An early ping is allowed; connectors send one too.
    Cue(at_s=2.54, type="ping", playhead_s=0.5),
    Cue(at_s=3.04, type="pauseStart", playhead_s=1.0),
    Cue(at_s=3.54, type="play", playhead_s=1.0),
    Cue(at_s=4.04, type="bufferStart", playhead_s=1.5),
    Cue(at_s=4.34, type="play", playhead_s=1.5),  # there is no event for the end of buffering
    Cue(at_s=5.84, type="sessionComplete", playhead_s=3.0),
    Cue(at_s=5.85, type="sessionEnd", playhead_s=3.0),
)
"""The playback: a pre-roll of two seconds, then three seconds of content with a pause and brief buffering."""


class PlaybackError(Exception):
    """The playback could not be reported; the message says which event and why."""


class _Stopped(BaseException):
    """SIGINT or SIGTERM arrived."""

    def __init__(self, signal_number: int) -> None:
        self.exit_code = 128 + signal_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One reported event: its ``ts``, the status of the answer, and the session ID known after it."""

    cue: Cue
    ts_ms: int
    status: int
    session_id: str


def body_of(cue: Cue, ts_ms: int) -> bytes:
    """Return the request body that reports a cue."""
    event: dict[str, Any] = {"playerTime": {"playhead": cue.playhead_s, "ts": ts_ms}, "eventType": cue.type}
    for name, value in (("params", cue.params), ("customMetadata", cue.metadata), ("qoeData", cue.quality)):
        if value:
            event[name] = dict(value)
    return json.dumps(event).encode()


def timed(clip: Iterable[Cue], started_at_ms: int, speed: float) -> Iterator[tuple[Cue, int]]:
    """Pair each cue with its ``ts``, which is when it happens even if it is sent later; no two are the same.

    >>> cues = (Cue(at_s=0.0, type="sessionStart"), Cue(at_s=1.0, type="play"), Cue(at_s=1.01, type="ping"))
    >>> [ts_ms for _, ts_ms in timed(cues, 1_700_000_000_000, speed=100)]
    [1700000000000, 1700000000010, 1700000000011]
    """
    last_ms = started_at_ms - 1
    for cue in clip:
        last_ms = max(last_ms + 1, started_at_ms + round(cue.at_s / speed * 1000))
        yield cue, last_ms


def play(clip: Sequence[Cue], server: ServerUrl, speed: float = 1.0) -> Iterator[Sent]:
    """Play a clip and report each event when it is due.

    Args:
        clip: Cues in order of time; the first is the ``sessionStart``.
        speed: How many times as fast as in the clip.

    Raises:
        PlaybackError: A request failed, was not answered 2xx, or the start gave no usable session ID.
    """
    started_s, started_at_ms = time.monotonic(), time.time_ns() // 1_000_000
    connection_type = http.client.HTTPSConnection if server.scheme == "https" else http.client.HTTPConnection
    connection = connection_type(server.host, server.port, timeout=TIMEOUT_S)
    session_id = ""
    try:
        for cue, ts_ms in timed(clip, started_at_ms, speed):
            time.sleep(max(0.0, started_s + cue.at_s / speed - time.monotonic()))
            path = f"{server.path}/api/v1/sessions" + (f"/{session_id}/events" if session_id else "")
            status, location = _post(connection, server, cue.type, path, body_of(cue, ts_ms))
            if not session_id:
                session_id = _session_id(location)
            yield Sent(cue=cue, ts_ms=ts_ms, status=status, session_id=session_id)
    finally:
        connection.close()


def _post(
    connection: http.client.HTTPConnection, server: ServerUrl, event_type: str, path: str, body: bytes
) -> tuple[int, str | None]:
    try:
        connection.request("POST", path, body, _HEADERS)
        response = connection.getresponse()
        answer = response.read()  # all of it, so that the connection can be reused
    except TimeoutError as e:
        raise PlaybackError(f"{event_type}: no answer from {server} within {TIMEOUT_S:g} s") from e
    except (OSError, http.client.HTTPException) as e:
        raise PlaybackError(f"{event_type}: no answer from {server}: {e or type(e).__name__}") from e
    if not 200 <= response.status < 300:
        said = answer.decode("utf-8", "replace").strip()
        raise PlaybackError(f"{event_type}: {server} answered {response.status}" + (f": {said}" if said else ""))
    return response.status, response.headers["Location"]


def _session_id(location: str | None) -> str:
    match = _LOCATION.match(location or "")
    if match is None or not match[2]:
        raise PlaybackError(f"sessionStart: no session ID in the answer's Location ({location or 'there is none'})")
    return match[2]


def line_of(sent: Sent) -> str:
    """Return the line that shows a reported event.

    >>> print(line_of(Sent(cue=Cue(at_s=0.0, type="play"), ts_ms=1_700_000_000_123, status=204, session_id="4a0f")))
      22:13:20.123  play             playhead  0.0 s  204
    """
    at = datetime.fromtimestamp(sent.ts_ms / 1000, UTC).isoformat(timespec="milliseconds")[11:23]
    line = f"  {at}  {sent.cue.type:<15}  playhead {sent.cue.playhead_s:4.1f} s  {sent.status}"
    return f"{line}  session {sent.session_id}" if sent.cue.type == "sessionStart" else line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the player and return its exit code: 0, 1 if the playback could not be reported, 128 + N on signal N."""
    parser = argparse.ArgumentParser(prog="python -m proxy_addon.demo.player", description=__doc__.partition("\n")[0])
    parser.add_argument("url", metavar="URL", type=_server, help="collection server to report to")
    parser.add_argument("--speed", metavar="N", type=_speed, default=1.0, help="play N times as fast (default: 1)")
    parser.add_argument(
        "--forget",
        metavar="TYPE",
        action="append",
        default=[],
        choices=sorted({cue.type for cue in CLIP} - {"sessionStart"}),
        help="leave out events of a type, as a faulty player does; may be repeated",
    )
    options = parser.parse_args(arguments)
    clip = [cue for cue in CLIP if cue.type not in options.forget]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        for sent in play(clip, options.url, options.speed):
            sys.stdout.write(f"{line_of(sent)}\n")
            sys.stdout.flush()
    except PlaybackError as e:
        sys.stderr.write(f"player: {e}\n")
        return 1
    except _Stopped as stopped:
        sys.stderr.write("player: stopped\n")
        return stopped.exit_code
    return 0


def _stop(number: int, _frame: object) -> None:
    raise _Stopped(number)


def _server(text: str) -> ServerUrl:
    try:
        return parse_server_url(text)
    except SettingsError as e:
        raise argparse.ArgumentTypeError(f"{e}; {e.hint}") from e


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return speed


if __name__ == "__main__":
    sys.exit(main())
