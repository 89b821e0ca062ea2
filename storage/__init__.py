"""The database edge: takes and returns core values."""
