"""The database edge: takes and returns core values."""

DEFAULT_STORE = "sqlite:///sessiontape.db"
"""Where recordings are unless a command is told otherwise: a file in the current folder."""
