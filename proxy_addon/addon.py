"""What ``mitmdump -s`` loads. Absolute imports and no logic: mitmproxy runs this file under another module name."""

from proxy_addon.recording.announcing import Announcing
from proxy_addon.recording.hooks import Tape

addons = [Announcing(), Tape()]
