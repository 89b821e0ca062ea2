"""Personal and hostile values: what an audit shows of them."""

from __future__ import annotations

import csv
import io
import json
import sys
import tracemalloc
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock
from xml.etree import ElementTree as ET

import pytest

from proxy_addon.core.audits import coverage
from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.concluding import audit_of
from proxy_addon.core.audits.coverage import LONGEST_NAME
from proxy_addon.core.audits.hiding import Hiding
from proxy_addon.core.audits.plan_parts import ALL, Part
from proxy_addon.core.audits.planning import plan_of
from proxy_addon.core.audits.plans import Plan
from proxy_addon.core.audits.sketches import LONGEST, Sample, told
from proxy_addon.core.audits.totals import Apart, ByGroup, GroupName, merged
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.personal import PERSONAL
from proxy_addon.files.yaml import parse_yaml
from proxy_addon.reporting.audits import facts, tables
from tests.audited import good_cues
from tests.builders import BEGIN_MS, at
from tests.played import Cue, recorded

HIDE = Hiding(Pseudonymiser(bytes(32), PERSONAL))


def groups(
    params: Mapping[str, Any], by: By | None = None, more: Iterable[Cue] = (), policy: Policy = DEFAULT
) -> ByGroup:
    cues = good_cues()
    cues[0] = replace(cues[0], params={**cues[0].params, **params})
    auditor = Auditor(Grouping(by=by), as_of(at(10**6), DEFAULT))
    for number in range(6):
        held = recorded([*cues, *more], begin_ms=BEGIN_MS + number, session_id=f"{number:064x}")
        auditor.add_held(held, policy)
    return auditor.groups


def written(found: ByGroup, by: By | None = None, hide: Hiding = HIDE) -> dict[str, str]:
    """Return an audit, beside itself as its baseline, in all ways in which it is written."""
    audit = audit_of(found, by=by, now=at(0), source="here", baseline=("before", found), hide=hide)
    return {
        "json": json.dumps(audit.document(), allow_nan=False),
        "csv": "".join(facts.lines(audit)),
        "junit": "".join(facts.suite(audit, "info")),
        "text": "".join(tables.as_text(audit)),
        "plan": plan_of(found, by, hide),
    }


def test_the_range_of_personal_numbers_is_not_shown():
    personal = {
        "phone": 4915112345678,
        "latitude": 48.137154,
        "visitor.aamLocationHint": 6,
        "own.number": 71234567890123456789012345678901234567,  # an ECID tells by itself what it is
        "own.float": 7.123456789012346e37,  # as JavaScript would send it
    }
    found = groups(personal)
    shown = written(found)
    for text in shown.values():
        for secret in ("4915112345678", "48.137154", "7123456789", "7.123456789"):
            assert secret not in text
    keys = {key.key: key for key in audit_of(found, by=None, now=at(0), source="here", hide=HIDE).all.keys}
    assert {(keys[name].lowest, keys[name].highest) for name in personal} == {(None, None)}
    assert (keys["media.length"].lowest, keys["media.length"].highest) == (104, 104)


@pytest.mark.parametrize(
    ("value", "secret", "shown"),
    [
        ("x" * 100 + " jane.roe@example.com", "jane.roe", "x" * 100 + " …"),
        ("https://here.example/" + "x" * 80 + "?a=1&b=jane.roe@example.com", "jane.roe", None),
        ("x" * 84 + " " + "71234567890123456789012345678901234567", "7123456789", "x" * 84 + " …"),
        ("eyJ1c2VySWQiOiAiamFuZS5yb2UifQ" * 6, "amFuZS5yb2", "(too long to be shown without personal values)"),
        ('{"film": "' + "x" * 70 + '", "customerIDs": {"crm": {"id": "jane.roe', "jane.roe", None),
        ("x" * 300, "x" * 130, "(too long to be shown without personal values)"),
    ],
)
def test_a_personal_value_is_not_shown_where_a_long_text_is_cut_off_in_it(value, secret, shown):
    found = groups({"media.show": value}, more=[Cue(at_s=131, type=value)])
    for text in written(found).values():
        assert secret not in text
    if shown is not None:
        (key,) = (
            each for each in audit_of(found, by=None, now=at(0), source="", hide=HIDE).all.keys if "show" in each.key
        )
        assert [example.text for example in key.examples] == [shown]


@pytest.mark.parametrize("length", [100, LONGEST_NAME - 9])
def test_a_personal_value_is_not_shown_in_a_key_that_is_not_in_the_plan(length):
    closed = Plan(name="PLAN.yaml", part=Part(events={ALL: {}}, further_keys=False)).applied_to(DEFAULT)
    key = "x" * length + " jane.roe@example.com" + ".phone" * (length // 100)
    for text in written(groups({key: "Jane" if length > LONGEST else 1}, policy=closed)).values():
        assert "jane.roe" not in text
        assert "Jane" not in text  # the name does not tell what it is if its end is missing


def test_a_key_of_the_protocol_appears_beside_more_keys_than_are_kept():
    made_up = {f"own.{number}": 1 for number in range(10)}
    with mock.patch.object(coverage, "MOST_KEYS", 3):
        before, after = groups(made_up), groups({**made_up, "media.show": "One"})
        before, after = merged([before] * 8), merged([after] * 8)
        changes = audit_of(after, by=None, now=at(0), source="", baseline=("before", before)).baseline
        assert changes is not None
        assert [each.name for each in changes.all.changes] == ["media.show"]


@pytest.mark.parametrize(
    ("by", "name", "member"),
    [
        (By.PLAYER, "HTML5 Player", "media.playerName"),
        (By.MEDIA, "video-123", "media.id"),
        (By.APP_VERSION, "app-1.2", "media.sdkVersion"),
        (By.CONTENT_TYPE, "vod", "media.contentType"),
    ],
)
def test_the_name_of_a_group_is_hidden_if_its_param_is_personal_in_the_settings(by, name, member):
    found = groups({}, by)
    assert any(name in text for text in written(found, by).values())
    for text in written(found, by, Hiding(Pseudonymiser(bytes(32), PERSONAL.with_more(members=[member])))).values():
        assert name not in text


def test_a_group_that_is_named_like_one_of_ours_stays_apart():
    (one,) = groups({}).values()
    names: list[GroupName] = [
        *Apart,
        "\0",
        "\1",
        None,
        "(other groups)",
        "(not sent)",
        "(all)",
        "all",
        "all sessions",
        "",
        '""',
        '"(not sent)"',
        "x",
    ]
    found: ByGroup = dict.fromkeys(names, one)
    audit = audit_of(found, by=By.PLAYER, now=at(0), source="here", baseline=("before", found), hide=HIDE)
    shown = {group["name"] for group in audit.document()["groups"]}
    assert len(shown) == len(names)
    assert {
        None,
        "\0",
        "\1",
        "(other groups)",
        "(start not recorded)",
        '"(other groups)"',
        '"(not sent)"',
        '""(not sent)""',
        '""',
        "x",
    } <= shown
    rows = csv.DictReader(io.StringIO("".join(facts.lines(audit))))
    assert len({row["group"] for row in rows}) == len(names) + 1
    suite = ET.fromstring("".join(facts.suite(audit, "info")))
    assert len({case.get("name") for case in suite.iter("testcase")}) == len(names) + 1


def test_a_long_name_is_cut_for_people_and_whole_for_machines():
    name = "x" * 300
    shown = written(groups({f"own.{name}": 1, "media.playerName": name}, By.PLAYER), By.PLAYER)
    assert f"own.{name}" in shown["json"]
    assert f"own.{name}" in shown["csv"]
    assert "params/own." + "x" * 48 + "… (unknown)" in shown["text"]
    assert "x" * 61 not in shown["text"]


def test_numbers_that_json_does_not_have_are_shown_as_the_nearest_that_it_has():
    sample = Sample()
    for value in (-(10**400), 10**400):
        sample.add(value)
    assert (sample.lowest, sample.highest) == (-sys.float_info.max, sys.float_info.max)
    assert "1.797" in written(groups({"media.rating": 10**400}))["json"]


def test_a_plan_can_be_read_whatever_the_names_of_keys_are():
    text = plan_of(groups({"x" * 2_000: 1, "media.own": 1, "me@example.com": 1}), None, HIDE)
    (start,) = (
        value for type_, value in parse_yaml(text, "PLAN.yaml").value["events"].items() if type_ == "sessionStart"
    )
    assert start["params"]["further_keys"] is True
    assert "media.own" in start["params"]["required"]
    assert "1 key with a personal name and 1 key with too long a name: not planned" in text


def test_long_texts_are_told_apart_and_not_remembered():
    texts = (f"{'x' * 100_000}{number}" for number in range(100))
    tracemalloc.start()
    try:
        assert len({told(text) for text in texts}) == 100
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
