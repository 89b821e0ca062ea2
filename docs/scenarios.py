"""Write ``docs/scenarios.md``: the scenarios that come with us, what is expected of each, and what that rests on.

``make docs`` runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from proxy_addon.core.scenarios.scenario import Scenario
from proxy_addon.files.scenarios import scenarios

PAGE = Path(__file__).with_suffix(".md")

_HEAD = """\
# The scenarios of `sessiontape certify`

This page lists the scenarios that come with sessiontape: what a person does, what must be reported, and what that rests on.
[certify.md](certify.md) says how to play them. `make docs` writes this page from the files in `proxy_addon/certifying/`.

A source such as Adobe, “Pause events” is the page of that title in Adobe's documentation of streaming media, as of July 2026.
“Adobe's SDKs” means that no page says it, and that all or most of Adobe's own SDKs do it.

Beside its own expectations, each scenario wants of each session that the server accepts its start, that no request is missing
in the recording, and that the rules of the protocol are kept ([rules.md](rules.md)); and that there are as many sessions as
it lists.
"""


def page(found: Iterable[Scenario]) -> str:
    """Return the page as Markdown."""
    lines = (line for scenario in found for line in _section(scenario))
    return "\n".join([_HEAD, *lines]).rstrip("\n") + "\n"


def _section(scenario: Scenario) -> Iterator[str]:
    yield f"## `{scenario.id}`: {scenario.title}\n"
    yield f"{scenario.about}\n"
    for number, step in enumerate(scenario.steps, 1):
        yield f"{number}. {step}"
    yield ""
    for playback in scenario.sessions:
        if len(scenario.sessions) > 1:
            yield f"{playback.name}:\n"
        yield from (f"- {expectation.that}" for expectation in playback.expect)
        yield ""
    yield f"Sources: {'; '.join(scenario.sources)}.\n"


if __name__ == "__main__":
    PAGE.write_text(page(scenarios().values()), encoding="utf-8")
