"""What is told of a session itself, such as its media and its device, without personal values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.sessions import Membership, Session, begun_late, membership, opened


def masked(
    session: Session, exchanges: Iterable[Exchange], change: Pseudonymiser
) -> tuple[Session, Iterator[Exchange]]:
    """Return a session and its exchanges with their personal values replaced; one that has none is left as it is.

    Args:
        exchanges: All of it, in the order of arrival. They are read up to the one that opens the session; the rest of them
            as those that are returned are consumed.
    """
    if session.pseudonymised:
        return session, iter(exchanges)
    changed = change.session(exchanges)
    read: list[Exchange] = []
    for exchange in changed:
        read.append(exchange)
        if membership(exchange) is Membership.OPENS:
            return _told(session, exchange, change), chain(read, changed)
        if not session.start_seen:
            break
    return _told(session, read[0] if read else None, change), chain(read, changed)


def _told(session: Session, known_by: Exchange | None, change: Pseudonymiser) -> Session:
    """Return a session with what is told of it taken from an exchange whose personal values were replaced.

    Args:
        known_by: What opened it or, if that is not known, its first exchange; None if it has none.
    """
    if known_by is None:
        source = replace(session, media_name=None, media_id=None, player_name=None, user_agent=None)
    elif membership(known_by) is Membership.OPENS:
        source = opened(known_by, id=session.id)
    else:
        source = begun_late(known_by, id=session.id)
    return replace(
        session,
        recording=named(session, change),
        player_name=source.player_name,
        media_id=source.media_id,
        media_name=source.media_name,
        content_type=source.content_type,
        app_version=source.app_version,
        library_version=source.library_version,
        user_agent=source.user_agent,
        client_address=None if session.client_address is None else change.address(session.client_address),
        pseudonymised=True,
    )


def named(session: Session, change: Pseudonymiser | None) -> str | None:
    """Return the name of a session's recording; tests give it, and may have an address in theirs."""
    name = session.recording
    return name if change is None or name is None or session.pseudonymised else change.text(name)


def masked_loss(loss: Loss, change: Pseudonymiser) -> Loss:
    """Return what was lost of a session without the personal values in its path and in what went wrong."""
    return replace(loss, path=change.path(loss.path), reason=change.text(loss.reason))
