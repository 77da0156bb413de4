"""An HTML page that shows how a ladder was fitted to a title: the hull and rungs of each codec. Pure.

The page needs neither scripts nor the network.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from headend.app.analysis import Analysis, CodecAnalysis
from headend.core.codecs import label_of
from ladders.hull import CurvePoint

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 48, 18, 30, 44
STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #667079; --line: #d9dee3; --hull: #9aa7b4;
  --rung: #0b66c3; --old: #c2571a; }
@media (max-width: 640px) { body { padding: 16px; } svg text { font-size: 17px !important; } }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e8ebee; --soft: #9aa4ad; --line: #343b43;
  --hull: #5d6a77; --rung: #5cabff; --old: #ff9a5c; } }
body { margin: 0 auto; max-width: 1360px; padding: 24px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0; }
p { margin: 4px 0; } .soft { color: var(--soft); }
.codecs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); gap: 28px;
  margin: 24px 0; }
section { min-width: 0; } svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); } svg .size { fill: var(--ink); }
.grid { stroke: var(--line); } .trial { stroke: var(--line); fill: none; } .dot { fill: var(--hull); }
.hull { stroke: var(--hull); stroke-width: 2.5; fill: none; }
.rung { fill: var(--rung); } .old { fill: var(--paper); stroke: var(--old); stroke-width: 1.5; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 2px 14px 2px 0; } th { color: var(--soft); font-weight: 500; }
.wide { overflow-x: auto; } details { margin-top: 8px; } summary { cursor: pointer; color: var(--soft); }
ul { padding-left: 20px; } .key { display: inline-block; width: 10px; height: 10px; border-radius: 5px; }
.key.new { background: var(--rung); } .key.was { border: 1.5px solid var(--old); box-sizing: border-box; }
"""


def page(analysis: Analysis, *, master: str, cost: str) -> str:
    """Render the page.

    Args:
        analysis: The analysis.
        master: The master's name, for people.
        cost: A sentence on the cost of the analysis.
    """
    name = master.rpartition("/")[2]
    sections = "\n".join(_section(codec) for codec in analysis.codecs)
    decisions = "".join(f"<li>{escape(line)}</li>" for line in analysis.decisions)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ladder of {escape(name)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Ladder of {escape(name)}</h1>
<p>{escape(sentence(analysis))}</p>
<p class="soft">{escape(cost)}</p>
<p class="soft"><span class="key new"></span> rungs of this title &nbsp; <span class="key was"></span> rungs of
{escape(analysis.pattern)}, predicted for this title &nbsp; thick line: the codec's best score at each rate</p>
<div class="codecs">
{sections}
</div>
<h2>Decisions</h2>
<ul>{decisions}</ul>
<p class="soft">VMAF by {escape(analysis.model)} on a screen of {escape(analysis.screen)}. Rates are predicted from
{analysis.excerpts:,} of {analysis.gops:,} GOPs; manifests state what is measured after encoding.</p>
</body>
</html>
"""


def sentence(analysis: Analysis) -> str:
    """Return in one sentence what the ladder is expected to save."""
    parts = [f"{label_of(codec.codec)} {_percent(codec.saving)}" for codec in analysis.codecs if codec.rungs]
    kept = [label_of(codec.codec) for codec in analysis.codecs if not codec.rungs]
    saved = f"Bits at equal VMAF, compared with the rungs of {analysis.pattern}: {', '.join(parts)}." if parts else ""
    unchanged = f"The rungs of {analysis.pattern} are kept for {' and '.join(kept)}." if kept else ""
    return " ".join(filter(None, (saved, unchanged)))


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "−")


def _section(codec: CodecAnalysis) -> str:
    name = label_of(codec.codec)
    outcome = (
        f"{_percent(codec.saving)} bits at equal VMAF"
        if codec.rungs
        else "the ladder's rungs are kept, see the decisions below"
    )
    if codec.rungs:
        top, was = codec.rungs[-1], codec.pattern[-1]
        outcome += (
            f"; highest rung {was.kbps:,.0f} kb/s at VMAF {was.vmaf:.1f} → {top.kbps:,.0f} kb/s at VMAF {top.vmaf:.1f}"
        )
    rows = "".join(
        f"<tr><td>{point.lines}p</td><td>{point.crf:g}</td><td>{point.kbps:,.0f}</td><td>{point.vmaf:.1f}</td></tr>"
        for point in reversed(codec.rungs)
    )
    table = (
        f'<details><summary>{len(codec.rungs)} rungs</summary><div class="wide"><table>'
        f"<tr><th>size</th><th>CRF</th><th>kb/s</th><th>VMAF</th></tr>{rows}</table></div></details>"
        if rows
        else ""
    )
    return f'<section><h2>{escape(name)}</h2><p class="soft">{escape(outcome)}</p>{chart(codec)}{table}</section>'


def chart(codec: CodecAnalysis) -> str:
    """Draw the chart of a codec: rate on a logarithmic x axis, VMAF on the y axis."""
    drawn: list[CurvePoint] = [*codec.rungs, *codec.pattern]
    low, high = 0.8 * max(0.1, min(point.kbps for point in drawn)), 1.25 * max(0.2, *(point.kbps for point in drawn))
    # A black film has 100 everywhere.
    floor = min(90, 10 * math.floor(max(0.0, min(point.vmaf for point in drawn)) / 10))
    span = max(math.log2(high / low), 0.1)

    def x(kbps: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(kbps / low) / span

    def y(vmaf: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (100 - vmaf) / (100 - floor)

    def inside(kbps: float, vmaf: float) -> bool:
        return low <= kbps <= high and vmaf >= floor

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Hull and rungs of {escape(codec.codec)}">']
    for vmaf in range(floor, 101, 10):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(vmaf):.1f}" y2="{y(vmaf):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(vmaf) + 4:.1f}" text-anchor="end">{vmaf}</text>')
    for kbps in _ticks(low, high):
        parts.append(f'<line class="grid" x1="{x(kbps):.1f}" x2="{x(kbps):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        label = f"{kbps:,.0f}"
        parts.append(f'<text x="{x(kbps):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">kb/s</text>')
    parts.append(f'<text x="{LEFT - 8}" y="14" text-anchor="end">VMAF</text>')
    by_size = sorted(codec.points, key=lambda point: (point.lines, point.kbps))
    for lines, group in groupby(by_size, key=lambda point: point.lines):
        visible = [(x(point.kbps), y(point.vmaf)) for point in group if inside(point.kbps, point.vmaf)]
        parts.append(_line("trial", visible))
        parts += [
            f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="2"><title>trial of {lines}p</title></circle>'
            for a, b in visible
        ]
    parts.append(
        _line("hull", [(x(point.kbps), y(point.vmaf)) for point in codec.hull if inside(point.kbps, point.vmaf)])
    )
    parts += [_mark("old", point, x(point.kbps), y(point.vmaf), 4) for point in codec.pattern]
    parts += [_mark("rung", point, x(point.kbps), y(point.vmaf), 5) for point in codec.rungs]
    for lines, sized in groupby(codec.rungs, key=lambda point: point.lines):
        first = next(iter(sized))
        parts.append(
            f'<text class="size" x="{x(first.kbps) - 7:.1f}" y="{y(first.vmaf) - 7:.1f}" '
            f'text-anchor="end">{lines}p</text>'
        )
    return "".join([*parts, "</svg>"])


def _ticks(low: float, high: float) -> Iterator[float]:
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (kbps for kbps in (10.0**power, 2 * 10.0**power, 5 * 10.0**power) if low <= kbps <= high)


def _line(kind: str, places: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>' if places else ""


def _mark(kind: str, point: CurvePoint, a: float, b: float, radius: int) -> str:
    label = f"{point.lines}p at CRF {point.crf:g}: {point.kbps:,.0f} kb/s, VMAF {point.vmaf:.1f}"
    return f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="{radius}"><title>{label}</title></circle>'
