"""What can go wrong, as a tree. Every message has what happened, ``hint`` what to do next.

SessiontapeError              anything a user can mend; the command line prints it and exits with 2
├─ SettingsError              an option or URL that does not make sense
├─ ProtocolError              bytes that are not the protocol
├─ RecorderError              the proxy could not start
├─ StorageError
│  ├─ StorageUnavailable      cannot reach, open or write the store
│  ├─ StorageBusy             somebody else is at it
│  ├─ SchemaOutOfDate         the store has another revision than this version needs
│  └─ NotFound                no such session or run, or more than one
└─ ReplayError
   ├─ TargetRefused           not an allowed target: how to allow it
   └─ TargetUnreachable      no connection to the target ever succeeded
"""

from __future__ import annotations


class SessiontapeError(Exception):
    """Something a user can mend.

    Attributes:
        hint: What to do next, a sentence; empty where the message says it all.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SettingsError(SessiontapeError):
    """An option or URL does not make sense; the message names it and what would be accepted."""


class ProtocolError(SessiontapeError):
    """Bytes are not what the protocol asks for; the message says where and what was expected."""


class RecorderError(SessiontapeError):
    """The recording proxy could not start."""


class StorageError(SessiontapeError):
    """Something about the store."""


class StorageUnavailable(StorageError):
    """The store cannot be reached, opened or written; the message has its URL without password and the cause."""


class StorageBusy(StorageError):
    """Another process is at what only one may be at."""


class SchemaOutOfDate(StorageError):
    """The store's schema is not the one this version works with: revision found, revision needed, what mends it."""


class NotFound(StorageError):
    """Nothing goes by that name, or several things do; the message lists the close ones."""


class ReplayError(SessiontapeError):
    """Something about a replay."""


class TargetRefused(ReplayError):
    """A replay may not go there; the hint says how to allow it. Nothing has been sent."""


class TargetUnreachable(ReplayError):
    """No connection to the target ever succeeded."""
