"""``python -m proxy_addon.ingest``: what a recorder starts; nobody else needs it."""

import sys

from proxy_addon.ingest.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
