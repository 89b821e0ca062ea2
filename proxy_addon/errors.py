"""The tree of errors. A message says what happened, and ``hint`` what to do next.

SessiontapeError              anything a user can fix; the command line prints it and exits with 2
├─ SettingsError              an invalid option, URL or file
├─ ProtocolError              bytes that are not the protocol
├─ RecorderError              the proxy could not start
├─ StorageError
│  ├─ StorageUnavailable      cannot reach, open or write the store
│  ├─ StorageBusy             another process holds a lock
│  ├─ SchemaOutOfDate         the store has another revision than this version needs
│  └─ NotFound                no such session or run, or several
└─ ReplayError
   ├─ TargetRefused           not an allowed target: how to allow it
   └─ TargetUnreachable      no connection to the target ever succeeded
"""

from __future__ import annotations


class SessiontapeError(Exception):
    """An error that a user can fix.

    Attributes:
        hint: What to do next; empty if the message says it all.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SettingsError(SessiontapeError):
    """An option, URL or file is invalid; the message and the hint say what is wrong and what is valid."""


class ProtocolError(SessiontapeError):
    """Bytes are not what the protocol requires; the message says where, and what was expected."""


class RecorderError(SessiontapeError):
    """The recording proxy could not start."""


class StorageError(SessiontapeError):
    """An error of the store."""


class StorageUnavailable(StorageError):
    """The store cannot be reached, opened or written; the message has its URL, without the password, and the cause."""


class StorageBusy(StorageError):
    """Another process does what only one may do at a time."""


class SchemaOutOfDate(StorageError):
    """The store's schema is not the one that this version works with; the hint says how to fix it."""


class NotFound(StorageError):
    """A name means nothing in the store, or several things; the hint lists candidates."""


class ReplayError(SessiontapeError):
    """An error of a replay."""


class TargetRefused(ReplayError):
    """A replay may not go to this target; the hint says how to allow it. Nothing has been sent."""


class TargetUnreachable(ReplayError):
    """No connection to the target ever succeeded."""
