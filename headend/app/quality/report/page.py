"""The HTML page of a quality report."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from headend.app.quality import judging
from headend.app.quality.clock import clock
from headend.app.quality.highlights import best_of_codecs
from headend.app.quality.report import charts
from headend.app.quality.report.colours import colour, scale
from headend.app.quality.report.shown import Shown
from headend.core.media.quality import Checking
from headend.core.media.quality_reports import Outcome, QualityReport, RenditionQuality, Severity, Shortfall, with_floor

MAX_BYTES = 2_000_000
"""Size limit of the page, so that it fits into an e-mail."""
MAX_FINDINGS = 60
_ONLY_RELATIVE = "tone-mapped: scores are comparable with each other only"
_VERDICT = {Outcome.PASSED: "good", Outcome.REMARKS: "fair", Outcome.FAILED: "bad"}
_STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--paper:#fff;--ink:#1f2733;--soft:#5b6675;--line:#e3e7ec;--faint:#eef0f3;
--hatch:#f3f4f6;--stripe:#d5d9e0;--good:#1d6f42;--fair:#8a5a00;--bad:#a61b29;--failure:#b2182b;--remark:#e08e0b;
--note:#94a3b8;--sdr:#313695;--hdr:#b45309;--hull:#b6bfca;--ring:#5b6675;--seen:#cbd5e1;
--still:#64748b;--shade:0 1px 3px #0001}
@media (prefers-color-scheme:dark){:root{--page:#111418;--paper:#1a1f26;--ink:#e6e9ed;--soft:#9aa6b4;--line:#333b45;
--faint:#272e37;--hatch:#20262e;--stripe:#39424d;--good:#2b8a57;--fair:#a8710c;--bad:#c93343;--failure:#ef5a6a;
--remark:#f0a93a;--note:#7d8b9c;--sdr:#8fb4ff;--hdr:#f6a55c;--hull:#4d5a69;--ring:#a7b3c0;--seen:#3b4652;
--still:#8b9bb0;--shade:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 28px 60px}
header{background:var(--paper);border-radius:12px;padding:24px 28px;border-top:6px solid var(--verdict);
box-shadow:var(--shade)}
.good{--verdict:var(--good)}.fair{--verdict:var(--fair)}.bad{--verdict:var(--bad)}
h1{font-size:24px;margin:0 0 2px;font-weight:650;overflow-wrap:anywhere}
h2{font-size:17px;margin:34px 0 6px;font-weight:650}
h3{font-size:14px;margin:0 0 2px;font-weight:600}
p{margin:4px 0}
.badge{display:inline-block;background:var(--verdict);color:#fff;border-radius:99px;padding:2px 12px;
font-weight:600;font-size:13px;margin-right:8px}
.lead{font-size:17px;margin:12px 0 14px}.dim{color:var(--soft);font-size:13px}
.card{background:var(--paper);border-radius:12px;padding:16px 18px;box-shadow:var(--shade);overflow-x:auto}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:6px 24px;margin:0}
dt{color:var(--soft);font-size:12px}dd{margin:0 0 4px;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th{text-align:right;color:var(--soft);font-weight:500;padding:4px 8px;border-bottom:1px solid var(--line)}
td{text-align:right;padding:3px 8px;border-bottom:1px solid var(--faint);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.findings{list-style:none;margin:0;padding:0}
.findings li{display:grid;grid-template-columns:150px 1fr;gap:0 18px;padding:9px 0;border-top:1px solid var(--faint)}
.findings li:first-child{border-top:0}
.kind{font-weight:600;white-space:nowrap}.kind small{display:block;font-weight:400;color:var(--soft);padding-left:18px}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:8px}
.failure{background:var(--failure)}.remark{background:var(--remark)}.note{background:var(--note)}
svg{display:block;width:100%;height:auto;font:10px system-ui,sans-serif;fill:var(--ink)}
svg .axis{fill:var(--soft);font-size:9.5px}
svg .line{stroke:var(--line)}svg .faint{stroke:var(--faint)}
svg .hatch{fill:var(--hatch)}svg .stripe{fill:var(--stripe)}
svg .hull{stroke:var(--hull)}svg .ring{stroke:var(--ring)}
svg .sdr{--own:var(--sdr)}svg .hdr{--own:var(--hdr)}svg .path{stroke:var(--own)}svg .spot{fill:var(--own)}
svg .seen{fill:var(--seen)}svg .black{fill:#000;stroke:var(--ring);stroke-width:.6}
svg .still{fill:var(--still)}svg .cut{fill:var(--sdr)}
svg .fault{fill:var(--failure)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px}
.grid>.card{max-width:620px}
figure{margin:0 0 16px}figure img{display:block;width:100%;border-radius:6px;background:#000}
figcaption{font-size:13px;padding:6px 0 0;display:flex;gap:4px 12px;flex-wrap:wrap}
.chip{border-radius:4px;padding:0 7px;color:#fff;font-weight:600}.legend{height:10px;border-radius:5px;width:260px;
max-width:40vw;background:linear-gradient(90deg,SCALE)}
.scale{display:flex;gap:4px 8px;align-items:center;font-size:12px;color:var(--soft);margin:0 0 10px;flex-wrap:wrap}
@media (max-width:720px){main{padding:14px 12px 40px}header{padding:18px 16px}.card{padding:14px}.lead{font-size:16px}
.wide svg{width:860px}.grid svg{font-size:15px}.grid svg .axis{font-size:14px}
.findings li{grid-template-columns:1fr}.kind small{display:inline;padding-left:6px}
dl{grid-template-columns:1fr 1fr}}
@media print{:root{--page:#fff;--shade:none}}
"""


def render(report: QualityReport, shown: Sequence[Shown]) -> str:
    """Render a report as an HTML page.

    Args:
        report: The report.
        shown: Pictures of the worst segments; those that would make the page larger than `MAX_BYTES` are left out.
    """
    style = _STYLE.replace("SCALE", scale())
    sections = [
        _header(report),
        *_findings(report),
        *_heat_map(report),
        *_charts(report),
        *_table(report),
        *_lifts(report),
    ]
    tail = [*_timeline(report), *_not_measured(report)]
    size = sum(len(part.encode()) for part in (style, *sections, *tail)) + 1000
    sections += _pictures(report, shown, MAX_BYTES - size)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>Quality of {escape(report.title)}: {report.outcome}</title><style>{style}</style></head>"
        f'<body class="{_VERDICT[report.outcome]}"><main>'
        f"{''.join(sections)}{''.join(tail)}</main></body></html>\n"
    )


def sentence(report: QualityReport) -> str:
    """Return the outcome in one sentence."""
    failures = report.failures
    remarks = sum(shortfall.severity is Severity.REMARK for shortfall in report.shortfalls)
    if failures:
        rules = judging.rules_broken(failures)
        worst = failures[0].message
        count = f"{len(rules)} rules" if len(rules) > 1 else f"the rule on {rules[0]}"
        published = " but was published anyway" if report.overrides else ""
        return f"The release fails {count}{published}: {worst}."
    remarked = f", with {remarks} remark{'s' if remarks > 1 else ''}" if remarks else ""
    best = [rendition for rendition in best_of_codecs(report, tone_mapped=False) if rendition.mean is not None]
    if not best:
        return f"The release passes{remarked}."
    low = min(best, key=lambda rendition: rendition.mean or 0)
    worst_segment = min((rendition.worst.mean for rendition in best if rendition.worst), default=0.0)
    thresholds = report.thresholds
    excused = low.mean is not None and (low.mean < thresholds.min_vmaf or worst_segment < thresholds.min_segment)
    outcome = "passes, but is too short or too small for the limits on VMAF" if excused else "passes"
    return (
        f"The release {outcome}{remarked}: the best rendition of each codec has a mean VMAF of {low.mean:.1f} or more, "
        f"and none of its measured segments is below {worst_segment:.1f}."
    )


def _header(report: QualityReport) -> str:
    grid, viewing = report.grid, report.viewing
    count = len({*report.evenly, *report.suspects})
    part = (
        "a part of each of "
        if any(segment.is_part for rendition in report.video for segment in rendition.segments)
        else ""
    )
    share = (
        "all segments" if report.checking is Checking.FULL else f"{part}{count:,} of {grid.segment_count:,} segments"
    )
    frames = f"{grid.frame_count:,} frame{'s' if grid.frame_count != 1 else ''}"
    facts = {
        "Release": report.release,
        "Measured": f"{share}, {_time(report.made_at)}",
        "Screen": f"{viewing.width_px} × {viewing.height_px} ({viewing.name})",
        "Model": f"{viewing.model}, one frame in {report.every}" if report.every > 1 else viewing.model,
        "Length": f"{clock(grid.frame_count, report)}, {frames} at {float(grid.frame_rate):.5g}/s",
        "Cost": f"{report.cpu_s:,.0f} CPU seconds",
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    overrides = "".join(
        f'<p class="dim">Published despite its failures by {escape(override.who)} at {escape(_time(override.at))}.</p>'
        for override in report.overrides
    )
    return (
        f"<header><h1>{escape(report.title)}</h1>"
        f'<p class="lead"><span class="badge">{escape(str(report.outcome))}</span>{escape(sentence(report))}</p>'
        f"{overrides}<dl>{listed}</dl></header>"
    )


def _findings(report: QualityReport) -> Iterator[str]:
    if not report.shortfalls:
        return
    shortfalls = report.shortfalls[:MAX_FINDINGS]
    rows = "".join(
        _finding(rule, severity, remedy, list(members))
        for (rule, severity, remedy), members in groupby(
            shortfalls, key=lambda shortfall: (shortfall.rule, shortfall.severity, judging.remedy_of(shortfall, report))
        )
    )
    left = len(report.shortfalls) - len(shortfalls)
    more = f'<p class="dim">{left} more are in report.json.</p>' if left > 0 else ""
    yield f'<section><h2>Findings</h2><div class="card"><ul class="findings">{rows}</ul>{more}</div></section>'


def _finding(rule: str, severity: Severity, remedy: str, members: Sequence[Shortfall]) -> str:
    lines = "".join(f"<div>{escape(_capital(shortfall.message))}.</div>" for shortfall in members)
    advice = f'<div class="dim">To fix it: {escape(remedy)}.</div>' if remedy else ""
    return (
        f'<li><div class="kind"><span class="dot {severity}"></span>{escape(_capital(rule))}<small>{severity}</small>'
        f"</div><div>{lines}{advice}</div></li>"
    )


def _heat_map(report: QualityReport) -> Iterator[str]:
    note = f" * {_ONLY_RELATIVE}." if any(rendition.tone_mapped for rendition in report.video) else ""
    yield (
        '<section><h2>Every rendition, every segment</h2><div class="card wide">'
        '<div class="scale"><span>VMAF 0</span><div class="legend"></div><span>100</span>'
        f"<span>&nbsp;Hatched: not measured. Right column: mean.{note}</span></div>{charts.heat_map(report)}</div>"
        "</section>"
    )


def _charts(report: QualityReport) -> Iterator[str]:
    drawn = [f'<div class="card"><h3>{escape(name)}</h3>{svg}</div>' for name, svg in charts.rate_charts(report)]
    if drawn:
        hull = " Grey: convex hull of the analysis; rings: predicted rungs." if report.hulls else ""
        hdr = f" Dashed: HDR, {_ONLY_RELATIVE}." if any(rendition.tone_mapped for rendition in report.video) else ""
        yield (
            "<section><h2>Rate and quality</h2>"
            '<p class="dim">Dots: mean VMAF of the renditions, labelled with their height; bars: down to the worst '
            "segment."
            f'{hull}{hdr}</p><div class="grid">{"".join(drawn)}</div></section>'
        )


def _table(report: QualityReport) -> Iterator[str]:
    head = ("rendition", "size", "kb/s", "peak ÷ cap", "mean VMAF", "5th percentile", "worst segment", "at")
    rows = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in _row(rendition, report))}</tr>" for rendition in report.video
    )
    sound = "".join(
        f"<tr><td>{escape(audio.rendition)}</td><td>{_number(audio.target_lufs)}</td><td>{_number(audio.result_lufs)}</td>"
        f"<td>{_number(audio.result_dbtp)}</td></tr>"
        for audio in report.audio
    )
    yield (
        '<section><h2>Renditions</h2><div class="card"><table><tr>'
        f"{''.join(f'<th>{name}</th>' for name in head)}</tr>{rows}</table></div></section>"
    )
    if sound:
        yield (
            '<section><h2>Sound</h2><div class="card"><table><tr><th>rendition</th><th>target, LUFS</th>'
            f"<th>loudness, LUFS</th><th>true peak, dBTP</th></tr>{sound}</table></div></section>"
        )


def _row(rendition: RenditionQuality, report: QualityReport) -> Iterable[str]:
    worst = rendition.worst
    share = rendition.peak_bps / rendition.cap_bps if rendition.cap_bps else 0
    yield escape(rendition.rendition)
    yield f"{rendition.width_px} × {rendition.height_px}"
    yield f"{rendition.average_bps / 1000:,.0f}"
    yield f"{share:.2f}"
    yield _chip(rendition.mean) if not rendition.tone_mapped else f"{_number(rendition.mean)} *"
    yield _number(rendition.low)
    yield _number(worst.mean if worst else None)
    yield clock(worst.worst_frame, report) if worst else ""


def _pictures(report: QualityReport, shown: Sequence[Shown], room_bytes: int) -> Iterator[str]:
    figures = []
    for picture in shown:
        data = b64encode(picture.jpeg).decode()
        room_bytes -= len(data) + 600
        if room_bytes < 0:
            break
        tone_mapped = f" ({_ONLY_RELATIVE})" if picture.rendition.tone_mapped else ""
        score = _number(picture.segment.mean) if picture.rendition.tone_mapped else _chip(picture.segment.mean)
        figures.append(
            f'<figure><img alt="Master and {escape(picture.rendition.rendition)}" '
            f'src="data:image/jpeg;base64,{data}"><figcaption><b>{escape(picture.rendition.rendition)}</b>{tone_mapped}'
            f"<span>{clock(picture.segment.worst_frame, report)}</span>"
            f"<span>segment {picture.segment.number}: {score}</span>"
            f"<span>this frame: {picture.segment.worst:.1f}</span></figcaption></figure>"
        )
    if figures:
        yield (
            "<section><h2>The worst segments</h2>"
            '<p class="dim">The master on the left, the rendition on the right, at the segment\'s worst frame.</p>'
            f'<div class="card">{"".join(figures)}</div></section>'
        )


def _lifts(report: QualityReport) -> Iterator[str]:
    if report.floor_vmaf is None:
        return
    rows = "".join(
        f"<tr><td>{escape(rendition.rendition)}</td><td>{lift.chunk + 1}</td><td>{lift.segment}</td>"
        f"<td>{_chip(lift.before)}</td><td>{_chip(lift.after)}</td></tr>"
        for rendition in report.video
        for lift in rendition.lifts
    )
    table = (
        "<table><tr><th>rendition</th><th>chunk</th><th>worst segment</th><th>its first VMAF</th>"
        f"<th>lowest VMAF now</th></tr>{rows}</table>"
        if rows
        else ""
    )
    yield (
        '<section><h2>Encoded again to reach the floor</h2><div class="card">'
        f"<p>{escape(_capital(lifts_text(report)))}.</p>{table}</div></section>"
    )


def lifts_text(report: QualityReport) -> str:
    """Summarise in one line which chunks were encoded again to reach the floor; empty without a floor."""
    if report.floor_vmaf is None:
        return ""
    chunks = sum(len(rendition.lifts) for rendition in report.video)
    count = sum(bool(rendition.lifts) for rendition in report.video)
    below = sum(worst.mean < report.floor_vmaf for rendition in with_floor(report.video) if (worst := rendition.worst))
    left = f"; {below} rendition{'s' if below != 1 else ''} still have a segment below it" if below else ""
    left = left.replace("1 rendition still have", "1 rendition still has")
    if not chunks:
        return f"no chunk was encoded again for the floor of {report.floor_vmaf:g}{left}"
    were = "chunks of {} were" if chunks != 1 else "chunk of {} was"
    of = f"{count} rendition{'s' if count != 1 else ''}"
    return f"{chunks} {were.format(of)} encoded again for the floor of {report.floor_vmaf:g}{left}"


def _timeline(report: QualityReport) -> Iterator[str]:
    yield f'<section><h2>Over time</h2><div class="card wide">{charts.timeline(report)}</div></section>'


def _not_measured(report: QualityReport) -> Iterator[str]:
    if report.not_measured:
        lines = "".join(f"<li>{escape(_capital(line))}.</li>" for line in report.not_measured)
        yield f'<section><h2>What was not measured</h2><div class="card"><ul>{lines}</ul></div></section>'
    yield f'<p class="dim">Written by headend {escape(report.software)}.</p>'


def _chip(score: float | None) -> str:
    if score is None:
        return "–"
    ink = "#1f2733" if 66 < score < 95 else "#fff"
    return f'<span class="chip" style="background:{colour(score)};color:{ink}">{score:.1f}</span>'


def _time(at: str) -> str:
    """A time of ISO 8601 in UTC, to the second, for people."""
    return f"{at[:19].replace('T', ' ')} UTC"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _capital(text: str) -> str:
    """Capitalize the first letter of a line, unless it begins with an id."""
    first = text.split(" ", 1)[0]
    return text if "-" in first else text[:1].upper() + text[1:]
