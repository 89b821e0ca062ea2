"""Pages are one file each: modules joined into a script, values embedded, and a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import math
import posixpath
import re
from importlib.resources import files

import pytest

from proxy_addon.reporting import pages
from proxy_addon.reporting.pages import joining
from proxy_addon.reporting.pages.embedding import embedded, read
from proxy_addon.reporting.pages.rendering import page, policy

ASSETS = files(pages) / "assets"
LONGEST_LINE = 150


def _modules(folder=ASSETS, prefix=""):
    for path in folder.iterdir():
        if path.is_dir():
            yield from _modules(path, f"{prefix}{path.name}/")
        elif path.name.endswith(".js"):
            yield prefix + path.name


MODULES = sorted(_modules())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_names_that_are_exported_and_used(module):
    text = joining.asset(module)
    rest = joining.IMPORT.sub("", text)
    assert not re.search(r"^\s*import\b|\bimport\(", rest, re.MULTILINE)
    assert not re.search(r"^export\b", joining.EXPORT.sub("", rest), re.MULTILINE)
    assert "</script" not in text
    assert "<!--" not in text
    for names, target in joining.IMPORT.findall(text):
        there = joining.EXPORT.findall(joining.asset(_resolved(module, target)))
        for name in re.findall(r"[^\s,]+", names):
            assert name in there, f"{target} has no {name}"
            assert re.search(rf"\b{re.escape(name)}\b", rest), f"{name} is not used"


@pytest.mark.parametrize("module", MODULES)
def test_lines_of_a_module_fit_a_screen(module):
    lines = enumerate(joining.asset(module).splitlines(), 1)
    assert [number for number, line in lines if len(line) > LONGEST_LINE] == []


def _resolved(module: str, target: str) -> str:
    folder = module.rpartition("/")[0]
    return posixpath.normpath(posixpath.join(folder, target))


def test_a_module_stands_after_what_it_imports_and_once():
    order = joining.modules("session_page.js")
    assert len(order) == len(set(order))
    assert order[-1] == "session_page.js"
    assert order.index("words.js") < order.index("icons.js") < order.index("session.js")
    script = joining.script("session_page.js")
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


def test_a_page_allows_the_script_and_the_style_that_it_has_and_no_other():
    text = "".join(page(title="<b>&\u202e", entry="session_page.js", parts={"value": {"a": "</script>"}}))
    assert "<title>&lt;b&gt;&amp;\N{REPLACEMENT CHARACTER} · sessiontape</title>" in text
    said = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert said is not None
    for tag, directive in (("style", "style-src"), ('script type="module"', "script-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", text, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in said[1].replace("&#39;", "'")
    assert "unsafe" not in said[1]
    assert "connect-src" not in said[1]
    assert "connect-src 'self'" in policy("session_page.js", is_live=True)
    part = re.search(r'data-part="value">([\w+/=]*)<', text)
    assert part is not None
    assert read(part[1]) == {"a": "</script>"}


def test_numbers_that_json_lacks_are_null():
    value = {"p": [1.5, math.inf, math.nan], "t": (1, -math.inf), "s": "\ud800"}
    assert read(embedded(value)) == {"p": [1.5, None, None], "t": [1, None], "s": "\ud800"}
    assert embedded(value) == embedded(value)


def test_modules_that_import_one_another_are_refused(monkeypatch):
    circle = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    monkeypatch.setattr(joining, "asset", circle.__getitem__)
    with pytest.raises(ValueError, match=r"a\.js -> b\.js -> a\.js"):
        joining.modules("a.js")
