"""``python -m proxy_addon`` is ``sessiontape``."""

from proxy_addon.cli import main

main()
