"""The totals of a simulation in Prometheus' text format, with the same names as live edges."""

from collections.abc import Iterator

from cdn_sim import metric_names
from cdn_sim.accounting import Tally
from cdn_sim.outcomes import DECISIONS, KBPS, SEGMENTS, STALL_MS
from cdn_sim.results import MISSES, Results, disk_bytes


def text(results: Results) -> str:
    """Totals of every run after its warm-up; ``scenario``, ``alternative`` and ``seed`` are labels."""
    samples: dict[str, list[str]] = {name: [] for name in metric_names.HELP}
    for name in results.alternatives:
        for run in results.of(name):
            for tally in run.tallies:
                base = {"scenario": results.scenario.name, "alternative": name, "seed": str(run.seed), "isp": tally.isp}
                sizes = disk_bytes(results.variants[name], tally)
                for metric, labels, value in _samples(tally, sizes):
                    samples[metric].append(f"{metric}{_labels({**base, **labels})} {value:.10g}")
    lines = []
    for metric, sample_lines in samples.items():
        if sample_lines:
            kind = "counter" if metric.endswith("_total") else "gauge"
            lines += [f"# HELP {metric} {metric_names.HELP[metric]}", f"# TYPE {metric} {kind}", *sample_lines]
    return "\n".join([*lines, ""])


def _samples(tally: Tally, sizes: list[int]) -> Iterator[tuple[str, dict[str, str], float]]:
    for cache in range(tally.edges + 1):
        tier = "edge" if cache < tally.edges else "shield"
        where = {"tier": tier, "edge": str(cache + 1) if tier == "edge" else "shield"}
        requests = tally.counted(tally.requests[cache]).sum(axis=1)
        sent = tally.counted(tally.sent[cache]).sum(axis=1)
        for number, decision in enumerate(DECISIONS):
            labels = {**where, "decision": decision.replace(" ", "_")}
            yield metric_names.REQUESTS, labels, float(requests[number])
            yield metric_names.SENT_BYTES, labels, float(sent[number])
        above = "shield" if tier == "edge" else "origin"
        yield metric_names.FETCHED_BYTES, {**where, "from": above}, float(sent[list(MISSES)].sum())
        yield metric_names.DISK_BYTES, where, float(sizes[cache])
    fills = [night for night in tally.fills if night.day * 24 >= tally.warm_up_hours]
    if fills:
        for result in ("arrived", "late", "replaced"):
            yield metric_names.FILL_BYTES, {"result": result}, sum(getattr(night, result) for night in fills)
    experience = tally.experience[tally.warm_up_hours :].sum(axis=0)
    yield metric_names.STALL_SECONDS, {}, float(experience[STALL_MS]) / 1000
    yield (
        metric_names.BITRATE,
        {},
        float(experience[KBPS] * 1000 / experience[SEGMENTS]) if experience[SEGMENTS] else 0.0,
    )


def _labels(labels: dict[str, str]) -> str:
    quoted = (
        '{}="{}"'.format(key, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for key, value in labels.items()
    )
    return "{" + ",".join(quoted) + "}"
