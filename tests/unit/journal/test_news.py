"""News on their way to those that record."""

from __future__ import annotations

import json

import msgspec
import pytest

from proxy_addon.core import sessions as folding
from proxy_addon.core.findings import Finding, Place, Severity
from proxy_addon.core.news import Ended, Found, Started
from proxy_addon.journal import news
from tests.builders import BEGIN, start

SESSION = folding.opened(start(), id="s1", retry_of="s0")
FINDING = Finding(rule="ts-type", severity=Severity.ERROR, message="m", seq=2, others=(Place(3, "/x"),))


@pytest.mark.parametrize(
    "told",
    [
        Started(at=BEGIN, session=SESSION),
        Ended(at=BEGIN, session=SESSION),
        Found(at=BEGIN, session=None, finding=FINDING, event_type="ping"),
        Found(at=BEGIN, session=SESSION, finding=FINDING),
    ],
)
def test_news_come_back_as_they_were(told):
    assert news.from_document(json.loads(json.dumps(news.to_document(told)))) == told


def test_news_of_a_newer_version_are_refused():
    with pytest.raises(msgspec.ValidationError, match="'closed'"):
        news.from_document({"kind": "closed"})
