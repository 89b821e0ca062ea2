"""The mitmproxy edge: exchanges come into being here and go to the store."""
