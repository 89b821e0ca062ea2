"""Devices are called what people call them, however much their agents pretend to be browsers."""

from __future__ import annotations

import time

import pytest

from proxy_addon.core.devices import LONGEST, device_of

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("Roku/DVP-12.5 (12.5.0.4178-46)", "Roku 12.5"),
        ("Roku4640X/DVP-7.70 (297.70E04154A)", "Roku 7.70 · 4640X"),
        (f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.5) {WEBKIT} 85.0.4183.93/6.5 TV Safari/537.36", "Samsung TV · Tizen 6.5"),
        (f"Mozilla/5.0 (Linux; Tizen 2.3; SmartHub; SMART-TV; SmartTV; U; Maple2012) {WEBKIT} TV Safari/538.1", "Samsung TV · Tizen 2.3"),
        ("Mozilla/5.0 (SmartHub; SMART-TV; U; Linux/SmartTV; Maple2012) AppleWebKit/534.7 SmartTV Safari/534.7", "Samsung TV"),
        (f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/94.0.4606.128 Safari/537.36 WebAppManager", "LG TV · webOS"),
        (
            f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/79.0 Safari/537.36 DMOST/2.0.0 (; LGE; webOSTV; WEBOS6.2.0 03.34.95; W6_lm21a;)",
            "LG TV · webOS 6.2.0",
        ),
        (f"Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7633; wv) {WEBKIT} Version/4.0 Chrome/112.0 Mobile Safari/537.36", "Fire TV · AFTMM"),
        ("Dalvik/2.1.0 (Linux; U; Android 7.1.2; AFTKA Build/NS6265)", "Fire TV · AFTKA"),
        (f"Mozilla/5.0 (Linux; Android 9; KFMAWI) {WEBKIT} Silk/112.5.1 like Chrome/112.0 Safari/537.36", "Fire tablet · KFMAWI"),
        ("AppleCoreMedia/1.0.0.20K71 (Apple TV; U; CPU OS 16_1 like Mac OS X; en_us)", "Apple TV · tvOS 16.1"),
        ("Film/3.1 (org.example.film; build:7; tvOS 17.2.0) Alamofire/5.8.1", "Apple TV · tvOS 17.2.0"),
        ("AppleTV11,1/11.1", "Apple TV"),
        ("AppleCoreMedia/1.0.0.21C62 (iPhone; U; CPU OS 17_2 like Mac OS X; en_us)", "iPhone · iOS 17.2"),
        ("Mozilla/5.0 (iPad; CPU OS 16_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile Safari/604.1", "iPad · iPadOS 16.6.1"),
        ("Film/3.1 (org.example.film; build:7; iOS 17.2.0) Alamofire/5.8.1", "iOS 17.2.0"),
        ("Film/42 CFNetwork/1410.0.3 Darwin/22.6.0", "Apple device · Darwin 22.6.0"),
        ("AppleCoreMedia/1.0.0.21G72 (Macintosh; U; Intel Mac OS X 12_5; en_us)", "Mac · macOS 12.5"),
        (f"Mozilla/5.0 (X11; Linux armv7l) {WEBKIT} Chrome/90.0.4430.225 Safari/537.36 CrKey/1.54.250320", "Chromecast"),
        (f"Mozilla/5.0 (Fuchsia) {WEBKIT} Chrome/114.0 Safari/537.36 CrKey/1.56.500000 DeviceType/SmartDisplay", "Smart display"),
        (
            f"Mozilla/5.0 (X11; Linux armv7l) {WEBKIT} Chrome/88.0 Safari/537.36 CrKey/1.0.999999 VIZIO SmartCast(Conjure/MTKE-5.0.15.0 FW/10.17 Model/V505-H1)",
            "Vizio TV · V505-H1",
        ),
        (f"Mozilla/5.0 (X11; Linux armv7l) {WEBKIT} Chrome/84.0 Safari/537.36 VIDAA/6.0(Hisense;SmartTV;43A6;)", "Hisense TV · VIDAA 6.0"),
        ("HbbTV/1.2.1 (;Panasonic;VIERA 2014;3.101;7101-0003 0010-0000;)", "Panasonic VIERA 2014 · HbbTV 1.2.1"),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko)", "PlayStation 5"),
        ("Mozilla/5.0 (PlayStation 4 3.11) AppleWebKit/537.73 (KHTML, like Gecko)", "PlayStation 4"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {WEBKIT} Chrome/48.0 Safari/537.36 Edge/15.15063", "Xbox One"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) {WEBKIT} Chrome/120.0 Safari/537.36", "Xbox Series X"),
        ("Mozilla/5.0 (Nintendo Switch; WebApplet) AppleWebKit/609.4 (KHTML, like Gecko)", "Nintendo Switch"),
        (f"Mozilla/5.0 (Linux; Android 11; BRAVIA 4K VH2 Build/RTT2.220929.001; wv) {WEBKIT} Chrome/111.0 Mobile Safari/537.36", "BRAVIA 4K VH2 · Android 11"),
        ("Dalvik/2.1.0 (Linux; U; Android 12; SM-G991B Build/SP1A.210812.016)", "SM-G991B · Android 12"),
        ("Mozilla/5.0 (Linux; U; Android 4.4.2; en-us; GT-I9505 Build/KOT49H) AppleWebKit/534.30 Version/4.0 Mobile Safari/534.30", "GT-I9505 · Android 4.4.2"),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36", "Pixel 8 · Android 14"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36", "Chrome 120 · Android 10"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36 EdgA/120.0", "Edge 120 · Android 10"),
        ("Mozilla/5.0 (Android 14; Mobile; rv:109.0) Gecko/121.0 Firefox/121.0", "Firefox 121 · Android 14"),
        ("Film/1.0 (Linux;Android 13) ExoPlayerLib/2.18.1", "Android 13"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/156.0.0.0 Safari/537.36", "Headless Chrome 156 · Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91", "Edge 120 · Windows"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome 120 · Windows"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome 120 · ChromeOS"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Safari/605.1.15", "Safari 17.2 · macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", "Firefox 121 · Linux"),
        ("Mozilla/5.0 (Linux x86_64 GNU/Linux) AppleWebKit/601.1 (KHTML, like Gecko) Version/8.0 WPE", "Set-top box · WPE"),
        ("okhttp/4.12.0", "okhttp/4.12.0"),
        ("sample player/1.0", "sample player/1.0"),
        ("", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_a_device_is_called_what_people_call_it(agent: str | None, device: str):
    assert device_of(agent) == device


def test_what_nobody_knows_is_cut_and_keeps_nobody_busy():
    assert device_of("x" * 10_000) == "x" * (LONGEST - 1) + "…"
    began_s = time.process_time()
    for text in ("Model ", "(", "Tizen 1 ", "TV ", "iPad ", "HbbTV/1(;", "Android 1; ", "Version/1 "):
        assert len(device_of(f"Mozilla/5.0 (Linux; Android 9; {text * 20_000}")) <= LONGEST
        assert len(device_of(text * 20_000)) <= LONGEST
    assert time.process_time() - began_s < 0.5
