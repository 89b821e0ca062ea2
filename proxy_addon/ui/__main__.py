"""``python -m proxy_addon.ui``: the pages that a recorder starts beside itself; users call ``sessiontape ui``."""

import sys

from proxy_addon.ui.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
