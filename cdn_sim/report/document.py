"""``report.json``: every number of the report."""

import json
from typing import Any

import msgspec

from cdn_sim.outcomes import DECISIONS, EXPERIENCE
from cdn_sim.results import METRICS, Results, bills_of, transit_bins

VERSION = 1
"""Version of the document's format."""


def document(results: Results) -> dict[str, Any]:
    """All metrics and time series as plain data; the same results always give the same document."""
    return {
        "kind": "SimulationReport",
        "version": VERSION,
        "scenario": msgspec.to_builtins(results.scenario),
        "runs_missing": results.missing,
        "played_live_s": results.played_s,
        "figures": {
            metric.key: {"title": metric.title, "unit": metric.unit, "higher_is_better": metric.higher_is_better}
            for metric in METRICS
        },
        "alternatives": {name: _alternative(results, name) for name in results.alternatives},
    }


def text(results: Results) -> str:
    """The document as JSON."""
    return json.dumps(document(results), indent=1, allow_nan=False) + "\n"


def _alternative(results: Results, name: str) -> dict[str, Any]:
    runs = results.of(name)
    scenario = results.variants[name]
    summary = {}
    for metric in METRICS:
        mean, half_width = results.mean(name, metric.key)
        difference = results.difference(name, metric.key)
        summary[metric.key] = {"mean": mean, "interval_95": half_width}
        if difference is not None and name != results.alternatives[0]:
            summary[metric.key] |= {"difference": difference[0], "difference_interval_95": difference[1]}
    return {
        "summary": summary,
        "runs": [
            {
                "seed": run.seed,
                "figures": results.metrics(run),
                "isps": [
                    {
                        "name": tally.isp,
                        "figures": results.metrics(run, number),
                        "bill_month": msgspec.to_builtins(bills_of(scenario, [tally])[0]),
                        "peak_sessions": tally.peak_sessions,
                        "objects": tally.objects,
                        "library_bytes": tally.library_bytes,
                        "requests_by_decision": {
                            _cache_name(tally.edges, cache): dict(
                                zip(DECISIONS, tally.counted(tally.requests[cache]).sum(axis=1).tolist(), strict=True)
                            )
                            for cache in range(tally.edges + 1)
                        },
                        "fill": [msgspec.to_builtins(night) for night in tally.fills],
                        "series": {
                            "edge_sent_bytes_by_hour": dict(
                                zip(DECISIONS, tally.sent[: tally.edges].sum(axis=0).tolist(), strict=True)
                            ),
                            "shield_sent_bytes_by_hour": dict(
                                zip(DECISIONS, tally.sent[tally.edges].tolist(), strict=True)
                            ),
                            "experience_by_hour": dict(zip(EXPERIENCE, tally.experience.T.tolist(), strict=True)),
                            "transit_bytes_by_5_minutes": transit_bins(tally).tolist(),
                        },
                    }
                    for number, tally in enumerate(run.tallies)
                ],
            }
            for run in runs
        ],
    }


def _cache_name(edges: int, cache: int) -> str:
    return f"edge {cache + 1}" if cache < edges else "shield"
