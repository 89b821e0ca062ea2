"""The file that ``mitmdump -s`` loads. It has only absolute imports because mitmproxy gives it another module name."""

from proxy_addon.recording.announcing import Announcing
from proxy_addon.recording.hooks import Tape

addons = [Announcing(), Tape()]
