"""What recording costs: rules on against rules off, and the lean proxy against mitmdump with the same addon."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.parts import BIN, cpu_s, play, proxy, ratio, upstream

ROUNDS = 9


def run() -> list[str]:
    """Measure, and return lines to print."""
    with ExitStack() as running:
        url = running.enter_context(upstream())
        record = ("sessiontape", "record", "--upstream", url, "--listen", "127.0.0.1:0", "--store", "sqlite:///t.db")
        command = [str(BIN / "sessiontape"), "addon-path"]
        path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        mitmdump = ("mitmdump", "-s", path, "--mode", f"reverse:{url}@127.0.0.1:0", "--set", "flow_detail=0")
        proxies = {
            "rules on": running.enter_context(proxy(*record)),
            "rules off": running.enter_context(proxy(*record, "--no-check")),
            "mitmdump -s": running.enter_context(proxy(*mitmdump, ready="listening at ")),
        }
        cpu, seconds = _measure(proxies)
    lines = [f"{'':14}  CPU ms/request  requests/s   (medians of {ROUNDS} interleaved rounds)"]
    lines += [
        f"{name:14}  {statistics.median(cpu[name]) * 1000:14.3f}  {1 / statistics.median(seconds[name]):10.0f}"
        for name in proxies
    ]
    lines.append(f"rules on / rules off, CPU: {ratio(cpu['rules on'], cpu['rules off']):.3f}   (goal: at most 1.10)")
    lines.append(f"record / mitmdump -s with the same addon, CPU: {ratio(cpu['rules on'], cpu['mitmdump -s']):.3f}")
    return lines


def _measure(
    proxies: Mapping[str, tuple[subprocess.Popen[str], str]],
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    cpu: dict[str, list[float]] = {name: [] for name in proxies}
    seconds: dict[str, list[float]] = {name: [] for name in proxies}
    for number in range(ROUNDS + 1):
        for name, (process, url) in proxies.items():
            before_s, began_s = cpu_s(process), time.perf_counter()
            requests = play(url, round(time.time() * 1000))
            took_s = time.perf_counter() - began_s
            time.sleep(0.3)  # the CPU time of work that follows the answers counts too
            if number:  # the first round warms up
                cpu[name].append((cpu_s(process) - before_s) / requests)
                seconds[name].append(took_s / requests)
    return cpu, seconds
