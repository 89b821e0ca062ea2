"""What an analyst does with ``export --format csv`` and pandas: the peer of `benchmarks.auditing`, run with pandas on its path."""

from __future__ import annotations

import sys
from typing import Any

SECTIONS = ("params.", "qoeData.", "customMetadata.")


def audit(path: str) -> dict[str, Any]:
    """Return what is said of the events in a CSV file."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415  # is installed by the benchmark

    events = pd.read_csv(path, low_memory=False)
    keys = [name for name in events.columns if name.startswith(SECTIONS)]
    by_type = events.groupby("event_type")
    share = by_type[keys].count().div(by_type.size(), axis=0)
    distinct = by_type[keys].nunique()
    common = {
        (event, key): some[key].value_counts().head(5).to_dict()
        for event, some in by_type
        for key in keys
        if distinct.loc[event, key]
    }
    found = events.loc[events["findings"].notna(), ["session", "findings"]]
    rules = found.assign(rule=found["findings"].str.split()).explode("rule").groupby("rule")["session"]
    pings = events.loc[events["event_type"] == "ping", ["session", "ts_ms"]].sort_values(["session", "ts_ms"])
    gaps = pings.groupby("session")["ts_ms"].diff().dropna()
    quantiles = [0.05, 0.5, 0.95]
    return {
        "share": share,
        "distinct": distinct,
        "common": common,
        "findings": rules.agg(["count", "nunique"]),
        "gaps": gaps.quantile(quantiles),
        "latency": events["duration_ms"].quantile(quantiles),
    }


if __name__ == "__main__":
    for name, value in audit(sys.argv[1]).items():
        print(name, value, sep="\n")
