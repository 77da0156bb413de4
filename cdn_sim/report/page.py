"""The report as one self-contained HTML page, without scripts."""

from collections.abc import Sequence
from html import escape

import msgspec

from cdn_sim.accounting import hit_ratio
from cdn_sim.outcomes import DECISIONS
from cdn_sim.report import charts
from cdn_sim.report.topology_chart import topology
from cdn_sim.results import METRICS, Metric, Results

_CSS = """
:root { --ink: #1f2933; --faint: #616e7c; --line: #e4e7eb; --good: #2b8a3e; --bad: #c2255c; --edge: #0b7285; }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: var(--ink); background: #f5f7fa;
  margin: 0 }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px }
header { border-bottom: 3px solid var(--edge); margin-bottom: 24px; padding-bottom: 12px }
h1 { font-size: 28px; margin: 0 } h2 { font-size: 18px; margin: 36px 0 10px }
p { margin: 4px 0 10px; max-width: 78ch } .faint { color: var(--faint); font-size: 13px; max-width: none }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(225px, 1fr)); gap: 12px }
.tile, figure { background: white; border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin: 0 }
.tile b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums }
.tile span { color: var(--faint); font-size: 13px }
figure { margin-bottom: 14px } figcaption { font-size: 14px; margin-bottom: 6px; font-weight: 600 }
figcaption small { font-weight: 400; color: var(--faint) }
figure svg { width: 100%; height: auto; display: block }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 14px; align-items: start }
.pair figure { margin: 0 }
.scroll { overflow-x: auto; background: white; border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 7px 12px; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left } thead th { background: #f0f4f8; font-weight: 600 }
tr:last-child td { border-bottom: 0 } .good { color: var(--good) } .bad { color: var(--bad) }
td small { color: var(--faint) }
.events { list-style: none; margin: 14px 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 22px;
  font-size: 13px }
.events b { color: var(--bad) } .events small { color: var(--faint) }
.warning { background: #fff4e6; border: 1px solid #ffc078; border-radius: 8px; padding: 10px 14px; margin: 12px 0 }
@media print { body { background: white } }
"""
_TILES = (
    "byte_hit_ratio",
    "offload",
    "transit_p95_mbps",
    "mean_kbps",
    "stall_ratio",
    "start_ms",
    "sessions",
    "cost_month",
)
_OF_WHOLE_DAYS = frozenset({"cost_month", "fill_bytes", "fill_share_of_misses", "late_bytes"})
"""Metrics that need whole days, so that a live run of some seconds doesn't have them."""
_BYTES = Metric("", "", "bytes", None)
_SHARE = Metric("", "", "share", None)


def page(results: Results) -> str:
    """Render the page.

    Args:
        results: Results with at least one complete run.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    scenario = results.scenario
    parts = [
        f"<header><h1>{escape(scenario.name)}</h1><p>{escape(scenario.summary)}</p>",
        f'<p class="faint">{_scope(results)}</p></header>',
    ]
    if results.missing and results.played_s is None:
        parts.append(
            f'<p class="warning">The simulation was stopped early: {_count(results.missing, "run")} '
            f"{'is' if results.missing == 1 else 'are'} missing from this report.</p>"
        )
    elif results.missing:
        parts.append('<p class="warning">The live run was stopped early: the metrics cover the time until then.</p>')
    parts += [_tiles(results), _events(results)]
    parts += ["<h2>Caches</h2>", _figure("Topology and mean rates", topology(results))]
    if results.played_s is not None:
        parts += ["<h2>Requests by cache</h2>", _caches(results), "<h2>Metrics</h2>", _table(results)]
        return _document(scenario.name, parts)
    parts.append(_figure("Byte hit ratio", charts.hit_ratios(results), _range_note(results)))
    parts.append(_figure("Edge traffic by cache decision", charts.decisions(results), "by hour"))
    parts.append("<h2>Transit and fill</h2>")
    fill = charts.fill_nights(results)
    alone = len(scenario.isps) == 1 and fill is None
    panels = [
        _figure(f"Transit of {isp.name}", charts.transit(results, number, wide=alone), "by five minutes")
        for number, isp in enumerate(scenario.isps)
    ]
    if fill:
        panels.append(_figure("Fill", fill, "by night"))
    parts.append(panels[0] if alone else f'<div class="pair">{"".join(panels)}</div>')
    parts.append("<h2>Viewer experience</h2>")
    rows = [
        _figure("Mean bitrate", charts.viewing(results, "bitrate"), "by hour and provider"),
        _figure("Time stalled", charts.viewing(results, "stalls"), "by hour and provider"),
    ]
    parts.append(f'<div class="pair">{"".join(rows)}</div>')
    parts.append("<h2>Alternatives</h2>" if len(results.alternatives) > 1 else "<h2>Metrics</h2>")
    if len(results.alternatives) > 1:
        compared = [
            _figure("", charts.alternatives(results, key, title, percent=percent))
            for key, title, percent in charts.wanted_differences(results)
        ]
        parts.append(f'<div class="pair">{"".join(compared)}</div>')
        parts.append('<p class="faint">Dots: means. Bars: 95 % confidence intervals. Ticks: single seeds.</p>')
    parts += [_table(results), "<h2>Cost</h2>"]
    parts.append(_figure("Cost per month", charts.money(results), "at the scenario's prices"))
    return _document(scenario.name, parts)


def _document(name: str, parts: Sequence[str]) -> str:
    title = escape(f"{name}: simulation")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _scope(results: Results) -> str:
    """Days, seeds and providers of the results, in one line."""
    providers = _count(len(results.scenario.isps), "provider")
    if results.played_s is not None:
        return f"{results.played_s:.0f} seconds played live by headend over loopback · {providers}"
    days = results.scenario.days
    return (
        f"{_count(days.counted, 'day')} after {_count(days.warm_up, 'day')} of warm-up · "
        f"{_count(len(results.of(results.alternatives[0])), 'seed')} · {providers} · "
        "simulated by headend, not measured on real viewers"
    )


def _caches(results: Results) -> str:
    """Requests of each cache by decision."""
    [run] = results.of(results.alternatives[0])
    shown = [number for number in range(len(DECISIONS)) if any(t.requests[:, number].sum() for t in run.tallies)]
    head = "".join(f"<th>{escape(DECISIONS[number])}</th>" for number in shown)
    rows = []
    for tally in run.tallies:
        for cache in range(tally.edges + 1):
            name = f"{tally.isp}, edge {cache + 1}" if cache < tally.edges else f"{tally.isp}, shield"
            counts = tally.requests[cache].sum(axis=1)
            sent = tally.sent[cache].sum(axis=1)
            cells = "".join(f"<td>{counts[number]:,.0f}</td>" for number in shown)
            size = value_text(_BYTES, float(sent.sum()))
            rows.append(f"<tr><td>{escape(name)}</td><td>{counts.sum():,.0f}</td>{cells}<td>{size}</td>")
            rows.append(f"<td>{value_text(_SHARE, hit_ratio(tally.sent[cache]))}</td></tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th></th><th>requests</th>{head}<th>sent</th><th>bytes hit</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _events(results: Results) -> str:
    """The list of events, with the numbers that mark them in the charts."""
    if not results.scenario.events:
        return ""
    rows = []
    for number, event in enumerate(results.scenario.events, 1):
        what = msgspec.to_builtins(getattr(event, event.kind))
        facts = ", ".join(
            f"{key.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{key.replace('_', ' ')} {value}"
            for key, value in what.items()
            if value not in ("", 0.0)
        )
        kind = event.kind.replace("_", " ")
        rows.append(f"<li><b>{number}</b> {escape(event.at)}: {escape(kind)} <small>{escape(facts)}</small></li>")
    return f'<ul class="events">{"".join(rows)}</ul>'


def _range_note(results: Results) -> str:
    return "shaded: all seeds" if len(results.of(results.alternatives[0])) > 1 else "by hour"


def _figure(title: str, svg: str, note: str = "") -> str:
    small = f" <small>{escape(note)}</small>" if note else ""
    caption = f"<figcaption>{escape(title)}{small}</figcaption>" if title else ""
    return f"<figure>{caption}{svg}</figure>"


def _tiles(results: Results) -> str:
    by_key = {metric.key: metric for metric in METRICS}
    name = results.alternatives[0]
    tiles = []
    for key in _TILES:
        if results.played_s is not None and key in _OF_WHOLE_DAYS:
            continue
        mean, _ = results.mean(name, key)
        note = by_key[key].title + (" per day" if key == "sessions" and results.played_s is None else "")
        tiles.append(f'<div class="tile"><b>{value_text(by_key[key], mean)}</b><span>{escape(note)}</span></div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(results: Results) -> str:
    names = results.alternatives
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for metric in METRICS:
        if results.played_s is not None and metric.key in _OF_WHOLE_DAYS:
            continue
        cells = []
        for column, name in enumerate(names):
            mean, half = results.mean(name, metric.key)
            own = f" <small>± {value_text(metric, half)}</small>" if half else ""
            cells.append(
                f"<td>{value_text(metric, mean)}{own}{_difference(results, metric, name) if column else ''}</td>"
            )
        rows.append(f"<tr><td>{escape(metric.title)}</td>{''.join(cells)}</tr>")
    note = (
        '<p class="faint">Coloured: difference from the first column, paired by seed; shown if its 95 % confidence '
        "interval excludes zero.</p>"
        if len(names) > 1
        else ""
    )
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f"{note}"
    )


def _difference(results: Results, metric: Metric, name: str) -> str:
    found = results.difference(name, metric.key)
    if found is None or metric.higher_is_better is None:
        return ""
    mean, half = found
    several = len(results.of(name)) > 1
    if not several or abs(mean) <= half or mean == 0:
        return ""
    kind = "good" if (mean > 0) == metric.higher_is_better else "bad"
    sign = "+" if mean > 0 else "−"
    text = f"{abs(mean) * 100:.2f} points" if metric.unit == "share" else value_text(metric, abs(mean))
    return f'<br><small class="{kind}">{sign}{text}</small>'


def value_text(metric: Metric, value: float) -> str:
    """A value with its unit."""
    if metric.unit == "share":
        return f"{value:.2%}" if value < 0.1 else f"{value:.1%}"
    if metric.unit == "bytes":
        for unit, name in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
            if value >= unit:
                return f"{value / unit:,.3g} {name}" if value < 1000 * unit else f"{value / unit:,.0f} {name}"
        return f"{value:,.0f} B"
    if metric.unit in ("Mb/s", "ms", "kb/s"):
        return f"{value:,.3g} {metric.unit}" if value < 1000 else f"{value:,.0f} {metric.unit}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.3g}"
