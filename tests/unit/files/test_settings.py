"""The settings file: what it may say, and how a mistake in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.pseudonyms.personal import PERSONAL
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.errors import SettingsError
from proxy_addon.files import settings
from tests.builders import START_PARAMS, body, event_dict

GOOD = """
[rules.ping-gap]
severity = "off"
reason = "our players ping every 30 s"

[rules.param-empty]
severity = "error"
reason = "an empty channel breaks our dashboards"

[[params]]
key = "media.custom"
type = "string"
events = ["sessionStart"]

[pings]
profile = "10/1"

[thresholds]
ping_gap_s = 35
states = 5
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "sessiontape.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def assert_good(policy):
    assert dict(policy.severities) == {"ping-gap": None, "param-empty": Severity.ERROR}
    assert [(key.name, key.type, key.events) for key in policy.params] == [("media.custom", "string", {"sessionStart"})]
    assert (policy.limits.ping_gap_s, policy.limits.states, policy.limits.ad_ping_median_s) == (35, 5, 2.0)


def test_without_a_file_the_rules_are_as_they_are():
    assert settings.load() == DEFAULT


def test_the_file_in_the_folder_is_read():
    write(GOOD)
    assert_good(settings.load())


def test_a_table_in_pyproject_does_as_well():
    lines = (
        GOOD.replace("[[", "[[tool.sessiontape.")
        .replace("\n[", "\n[tool.sessiontape.")
        .replace("tool.sessiontape.[tool", "[tool")
    )
    write(lines.replace("[tool.sessiontape.[", "[["), "pyproject.toml")
    assert_good(settings.load())


def test_a_pyproject_of_something_else_is_none_of_ours():
    write("[project]\nname = 'x'\n", "pyproject.toml")
    assert settings.load() == DEFAULT


def test_a_broken_pyproject_is_an_error_where_it_speaks_of_us():
    write("[project\n", "pyproject.toml")
    assert settings.load() == DEFAULT
    write("[tool.sessiontape\n", "pyproject.toml")
    with pytest.raises(SettingsError, match="not TOML"):
        settings.load()


def test_a_pyproject_that_is_odd_elsewhere_is_none_of_ours():
    write("tool = 1\n", "pyproject.toml")
    assert settings.load() == DEFAULT


def test_a_param_that_is_known_gets_events_beside_its_own():
    policy = settings.load(write("[[params]]\nkey='media.channel'\ntype='string'\nevents=['play']\n"))
    start = {name: value for name, value in START_PARAMS.items() if name != "media.channel"}
    for sent, endpoint, expected in (
        (event_dict("sessionStart", params=start), Operation.SESSIONS, ["param-missing"]),
        (event_dict("sessionStart"), Operation.SESSIONS, []),
        (event_dict("play", params={"media.channel": "x"}), Operation.EVENTS, []),
    ):
        found = judge_body(body(sent), endpoint, policy, Vocabulary(policy.params))
        assert [finding.rule for finding in found] == expected


def test_a_file_that_is_named_goes_first():
    write("[thresholds]\nping_gap_s = 1\n")
    assert settings.load(write(GOOD, "other.toml")).limits.ping_gap_s == 35


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("[rules.ping-gab]\nseverity='off'\nreason='x'", "unknown rule 'ping-gab'", "did you mean ping-gap?"),
        ("[rulez]", "unknown key 'rulez'", "did you mean rules?"),
        ("[rules.ping-gap]\nseverity='off'", "has no reason", "say why"),
        ("[rules.ping-gap]\nseverity='off'\nreason=' '", "has no reason", "say why"),
        ("[rules.ping-gap]\nreason='x'", "has no severity", ""),
        ("[rules.ping-gap]\nseverity='fatal'\nreason='x'", "expected one of error, warning, info, off", ""),
        ("[rules.ping-gap]\nseverity='off'\nreasons='x'", "unknown key 'reasons'", "did you mean reason?"),
        ("[rules]\nping-gap='off'", "is not a table", ""),
        ("[thresholds]\nping_gap=3", "unknown key 'ping_gap'", "did you mean ping_gap_s?"),
        ("[thresholds]\nping_gap_s='3'", "expected a number", ""),
        ("[thresholds]\nping_gap_s=-1", "expected a number", ""),
        ("[thresholds]\nping_gap_s=nan", "expected a number", ""),
        ("[pings]\nprofile='10/2'", "expected one of 10/10, 10/1", ""),
        ("[params]\nkey='x'", "write [[params]]", ""),
        ("[[params]]\ntype='string'", "has no key", ""),
        ("[[params]]\nkey='x'", "type is None", ""),
        ("[[params]]\nkey='x'\ntype='text'", "expected one of string", ""),
        (
            "[[params]]\nkey='x'\ntype='string'\nevents=['sesionStart']",
            "unknown event 'sesionStart'",
            "did you mean sessionStart?",
        ),
        ("[[params]]\nkey='x'\ntype='string'\nevents='play'", "not a list", ""),
        ("[[params]]\nkey='x'\ntype='string'\nevents=[['play']]", "unknown event ['play']", ""),
        ("[thresholds]\nstates=10.0", "expected a whole number", ""),
        ("[pseudonyms]\nmember=['x']", "unknown key 'member'", "did you mean members?"),
        ("[pseudonyms]\nmembers='x'", "is not a list of names", ""),
        ("[pseudonyms]\nmembers=['*.id']", "'*.id' is not a name", "at the end"),
        ("[pseudonyms]\nmembers=['*']", "'*' is not a name", "at the end"),
        ("[pseudonyms]\nheaders=['X-A*']", "'X-A*' is not a name", "at the end"),
        ("[pseudonyms]\nheaders=['X A']", "'X A' is not a name", "as it is sent"),
        ("x = ", "is not TOML", ""),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(text, says, hint):
    path = write(text)
    with pytest.raises(SettingsError) as told:
        settings.load()
    assert str(path) in str(told.value)
    assert says in str(told.value)
    assert hint in told.value.hint


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(SettingsError, match=r"cannot read nowhere.toml"):
        settings.load(Path("nowhere.toml"))


def test_more_can_be_personal():
    assert settings.load_personal() is PERSONAL
    write("[pseudonyms]\nmembers = ['loyaltyNumber', 'crm.*']\nheaders = ['X-Tenant']\n")
    personal = settings.load_personal()
    assert (personal.is_member("crm.Level"), personal.is_member("loyalty_number"), personal.is_member("userId")) == (
        True,
    ) * 3
    assert personal.is_header("x-tenant")
    assert settings.load() == DEFAULT


def test_names_of_rules_are_checked():
    assert settings.check_rules(["ping-gap", "ping-gap"], "--select") == {"ping-gap"}
    with pytest.raises(SettingsError, match=r"--select: unknown rule 'x'"):
        settings.check_rules(["x"], "--select")
