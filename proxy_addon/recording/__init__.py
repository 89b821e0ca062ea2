"""The mitmproxy edge: turn flows into exchanges, and store them."""
