"""HTTP/1.1 between a device and upstream, as bytes: what is strict, what is recorded, and mitmproxy's layer for it."""
