"""The demo: record, check and replay with real processes."""
