"""Tell a store that refuses everything from an exchange that no store would take."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from proxy_addon.core.books import Loss, Recorder
from proxy_addon.core.exchange import Exchange, Request, Response
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.errors import StorageUnavailable
from storage import losses, recorders
from storage.engine import Store
from storage.saving import Judged, RecordingRun, new_id, save

_UPSTREAM = "https://upstream.example"


class _Enough(Exception):  # no error: it takes back what was written
    pass


def refusal(store: Store) -> Exception | None:
    """Write what every store takes, and take it back; return why the store refuses it, or None if it does not.

    Raises:
        StorageUnavailable: The store cannot be reached or written.
    """
    id, at = new_id(), datetime.now(UTC)
    finding = Finding(rule="probe", severity=Severity.INFO, message="probe")
    run = RecordingRun(id=id, name=None, started_at=at, version="")
    recorder = Recorder(id=id, worker=0, name=None, started_at=at, version="", engine="", upstream=_UPSTREAM)
    loss = Loss(
        id=new_id(),
        recorder=id,
        upstream=_UPSTREAM,
        received_at=at,
        method="POST",
        path="/",
        is_refused=True,
        reason="",
    )
    try:
        with store.write() as db:
            save(db, run, [Judged(each, [finding]) for each in (_start(id, at), _ping(id, at))])
            losses.note(db, [loss])
            recorders.keep(db, recorder, filed=2)
            raise _Enough  # noqa: TRY301  # this is how a transaction is rolled back
    except _Enough:
        return None
    except StorageUnavailable:
        raise
    except Exception as e:  # noqa: BLE001  # whatever it is, no exchange is at fault
        return e


def _start(session_id: str, at: datetime) -> Exchange:
    answer = Response(status=201, headers=(("Location", f"/api/v1/sessions/{session_id}"),))
    body = _event("sessionStart", {"media.name": "probe"})
    request = Request(method="POST", path="/api/v1/sessions", body=body)
    return Exchange(id=new_id(), upstream=_UPSTREAM, received_at=at, request=request, response=answer)


def _ping(session_id: str, at: datetime) -> Exchange:
    request = Request(method="POST", path=f"/api/v1/sessions/{session_id}/events", body=_event("ping", {}))
    return Exchange(id=new_id(), upstream=_UPSTREAM, received_at=at, request=request, response=Response(status=204))


def _event(type: str, params: dict[str, str]) -> bytes:
    return json.dumps({"eventType": type, "playerTime": {"playhead": 0, "ts": 0}, "params": params}).encode()
