"""Finds the name of a device in a ``User-Agent``: one that people know, such as ``Roku 12.5`` or ``iPhone · iOS 17.2``.

Boxes and consoles come first, then devices with a model, then browsers, because most agents also claim to be an older browser.

>>> device_of("Roku/DVP-12.5 (12.5.0.4178-46)")
'Roku 12.5'
"""

from __future__ import annotations

import re

LONGEST = 80
"""How many characters of an unknown agent are kept."""
_READ = 1000
"""How many characters of an agent are searched."""
_VERSION = r"(?P<v>\d+(?:[._]\d+)*)"
_ANDROID = r"Android (?P<v>\d+(?:\.\d+)*)"

_KNOWN = tuple(
    (re.compile(pattern), template)
    for pattern, template in (
        (rf"\bRoku(?P<model>\w*)/DVP-{_VERSION}", "Roku {v} · {model}"),
        (r"\bRoku\b", "Roku"),
        (r"VIZIO SmartCast(?:.*?Model/(?P<model>[\w-]+))?", "Vizio TV · {model}"),
        (rf"VIDAA/{_VERSION}", "Hisense TV · VIDAA {v}"),
        (r"DeviceType/SmartDisplay", "Smart display"),
        (r"CrKey/", "Chromecast"),
        (r"PlayStation (?P<model>\d|Vita)", "PlayStation {model}"),
        (r"Xbox (?P<model>One|Series [XS])", "Xbox {model}"),
        (r"\bXbox\b", "Xbox"),
        (r"Nintendo (?P<model>Switch 2|Switch|WiiU|3DS)", "Nintendo {model}"),
        (rf"Tizen {_VERSION}.*?\b(?:TV|SmartTV|SMART-TV)\b|(?:TV|SmartTV|SMART-TV)\b.*?Tizen (?P<w>\d+(?:\.\d+)*)", "Samsung TV · Tizen {v}{w}"),
        (r"Maple|SMART-TV; .*Samsung", "Samsung TV"),
        (rf"(?i:webos)(?:TV)?(?:; ?WEBOS|/| ){_VERSION}", "LG TV · webOS {v}"),
        (r"Web0S|webOS|NetCast|LG Browser", "LG TV · webOS"),
        (r"HbbTV/(?P<v>[\d.]+) ?\([^;)]*; ?(?P<maker>[^;)]+); ?(?P<model>[^;)]+)", "{maker} {model} · HbbTV {v}"),
        (r"Apple ?TV(?P<model>\d+,\d+)?.*?OS (?P<v>\d+[._]\d+)", "Apple TV · tvOS {v}"),
        (rf"tvOS[ /]{_VERSION}", "Apple TV · tvOS {v}"),
        (r"Apple ?TV", "Apple TV"),
        (r"\b(?P<model>AFT\w*)\b", "Fire TV · {model}"),
        (r"\b(?P<model>KF[A-Z]{2,})\b", "Fire tablet · {model}"),
        (r"iPad.*?OS (?P<v>\d+(?:[._]\d+)*)", "iPad · iPadOS {v}"),
        (r"(?P<model>iPhone|iPod).*?OS (?P<v>\d+(?:[._]\d+)*)", "{model} · iOS {v}"),
        (rf"\b(?P<model>iOS|iPadOS|watchOS|visionOS)[ /]{_VERSION}", "{model} {v}"),
        (rf"{_ANDROID}; (?:[a-z]{{2}}[-_][A-Za-z]{{2}}; )?(?!K\)|(?:Mobile|Tablet)\b|wv\b|Build/)(?P<model>[^;)/]+?)(?: Build/|[;)])", "{model} · Android {v}"),
        (rf"{_ANDROID}.*?\b(?P<browser>SamsungBrowser|OPR|EdgA)/(?P<w>\d+)", "{browser} {w} · Android {v}"),
        (rf"{_ANDROID}.*?\b(?P<browser>Firefox|Chrome)/(?P<w>\d+)", "{browser} {w} · Android {v}"),
        (_ANDROID, "Android {v}"),
        (r"\b(?P<browser>Edg|OPR)/(?P<w>\d+)", "{browser} {w} · {system}"),
        (r"\b(?P<browser>Firefox|HeadlessChrome|Chrome)/(?P<w>\d+)", "{browser} {w} · {system}"),
        (r"Version/(?P<w>\d+(?:\.\d+)?).*? Safari/", "Safari {w} · {system}"),
        (r"\bWPE\b", "Set-top box · WPE"),
        (rf"Mac OS X {_VERSION}", "Mac · macOS {v}"),
        (rf"CFNetwork/.*?Darwin/{_VERSION}", "Apple device · Darwin {v}"),
    )
)  # fmt: skip
_BROWSERS = {
    "Edg": "Edge",
    "EdgA": "Edge",
    "OPR": "Opera",
    "HeadlessChrome": "Headless Chrome",
    "SamsungBrowser": "Samsung Internet",
}
_SYSTEMS = (("Windows", "Windows"), ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Linux", "Linux"))


def device_of(user_agent: str | None) -> str:
    """Return the name of the device that sends a ``User-Agent``; for an unknown one, the agent itself, shortened."""
    read = (user_agent or "")[:_READ]
    for pattern, template in _KNOWN:
        found = pattern.search(read)
        if found is not None:
            return _filled(template, found, read)
    agent = read.strip()
    return agent if len(agent) <= LONGEST else f"{agent[: LONGEST - 1]}…"


def _filled(template: str, found: re.Match[str], read: str) -> str:
    """Return a template filled with what was found, without the parts that stay empty."""
    groups = dict.fromkeys("vw", "") | {name: text or "" for name, text in found.groupdict().items()}
    groups["v"] = groups["v"].replace("_", ".")
    groups["browser"] = _BROWSERS.get(groups.get("browser", ""), groups.get("browser", ""))
    groups["system"] = next((name for sign, name in _SYSTEMS if sign in read), "")
    parts = (part.format_map(groups).strip() for part in template.split(" · "))
    named = " · ".join(filter(None, parts))
    return named if len(named) <= LONGEST else f"{named[: LONGEST - 1]}…"
