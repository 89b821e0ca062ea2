"""The database edge: takes and returns core values."""

DEFAULT_STORE = "sqlite:///sessiontape.db"
"""The store of a command without `--store`: a file in the current folder."""
