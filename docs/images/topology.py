"""The picture of origin, shields, edges and steering in docs/guides/edges.md, drawn from the scenario ``metro``.

Run ``python -m docs.images.topology``; it writes ``topology.svg`` beside this file.
"""

from html import escape
from pathlib import Path

from cdn_sim import scenario
from cdn_sim.model import Isp, Scenario

PICTURE = Path(__file__).parent / "topology.svg"
NAME = "metro"
WIDTH, HEIGHT = 960, 560
STORE, ORIGIN, SHIELD, EDGE, VIEWER, STEERING = "#b9b4c7", "#f4b860", "#5aa9c9", "#8fb98b", "#e8e4da", "#d98880"
EDGE_WIDTH, EDGE_GAP = 84, 10
NOTES_WIDTH = 116
"""Right part of a provider, which no line crosses."""


def svg(metro: Scenario) -> str:
    """Draw the store on top, below it the origin, the providers' shields and edges, and their viewers."""
    middle = WIDTH / 2
    parts = [
        _box(middle - 90, 20, 180, 44, STORE, "S3-compatible store", "tracks, releases, manifests"),
        _box(middle - 90, 112, 180, 44, ORIGIN, "origin", "headend serve"),
        _line(middle, 64, middle, 112),
        _note(middle + 8, 92, "each object once"),
        _note(middle - 32, 192, f"{metro.origin.link.gbps:g} Gb/s, {metro.origin.link.rtt_ms:g} ms"),
        _box(30, 112, 190, 44, STEERING, "steering server", "headend steer"),
        _line(middle - 90, 134, 220, 134, dashed=True),
        _note(238, 126, "manifests name it"),
    ]
    left = 30.0
    width = (WIDTH - 60 - 40) / len(metro.isps)
    for isp in metro.isps:
        parts += _provider(metro, isp, left, width, middle)
        left += width + 40
    legend = [
        _line(640, 30, 680, 30),
        _note(688, 34, "segments and manifests, on a miss"),
        _line(640, 50, 680, 50, dashed=True),
        _note(688, 54, "who goes where; health and load"),
    ]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"
font-size="13">
<style>
.name {{ fill: #1b1b1b; text-anchor: middle; font-weight: bold; }}
.what {{ fill: #333333; text-anchor: middle; font-size: 11px; }}
.note {{ fill: #444444; font-size: 11px; paint-order: stroke; stroke: #fcfcfc; stroke-width: 5px; }}
.line {{ stroke: #555555; stroke-width: 1.6; fill: none; }}
.dashed {{ stroke: #b03a2e; stroke-width: 1.6; fill: none; stroke-dasharray: 5 4; }}
.isp {{ fill: #ffffff; stroke: #bbbbbb; stroke-width: 1.5; }}
</style>
<rect width="100%" height="100%" fill="#fafafa"/>
{chr(10).join((*parts, *legend))}
</svg>
"""


def _provider(metro: Scenario, isp: Isp, left: float, width: float, middle: float) -> list[str]:
    """A provider's shield, and its network below: transit comes in from above, its viewers are at the bottom."""
    centre = left + (width - NOTES_WIDTH) / 2
    edge = metro.edge_of(isp)
    row = isp.edges * EDGE_WIDTH + (isp.edges - 1) * EDGE_GAP
    first = centre - row / 2
    notes = left + width - NOTES_WIDTH
    parts = [
        _line(middle, 156, centre, 212),
        _box(
            centre - 95, 212, 190, 44, SHIELD, f"shield of {isp.name}", f"{isp.shield.disk}, headend edge --tier shield"
        ),
        f'<rect x="{left}" y="290" width="{width}" height="250" rx="12" class="isp"/>',
        _note(notes, 310, f"provider {isp.name}"),
        _note(notes, 324, f"{isp.share:.0%} of viewers"),
        _note(centre + 100, 276, f"transit: {isp.transit.gbps:g} Gb/s, {isp.transit.rtt_ms:g} ms"),
        _box(first, 448, row, 40, VIEWER, "viewers", "HLS and DASH players"),
    ]
    for number in range(isp.edges):
        at = first + number * (EDGE_WIDTH + EDGE_GAP)
        parts.append(_line(centre, 256, at + EDGE_WIDTH / 2, 334))
        parts.append(_box(at, 334, EDGE_WIDTH, 44, EDGE, f"{isp.name}/{number + 1}", f"{edge.disk}"))
        parts.append(_line(at + EDGE_WIDTH / 2, 378, at + EDGE_WIDTH / 2, 448))
        if number:
            parts.append(_line(at - EDGE_GAP, 356, at, 356))
    parts.append(_note(notes, 402, f"up to {edge.gbps:g} Gb/s each;"))
    parts.append(_note(notes, 416, f"{edge.pinned:.0%} of each disk"))
    parts.append(_note(notes, 430, "is filled at night"))
    parts.append(_line(centre, 488, centre, 508, dashed=True))
    parts.append(_note(centre - 130, 524, "players ask the steering server every few seconds"))
    return parts


def _box(left: float, top: float, width: float, height: float, colour: str, name: str, what: str) -> str:
    centre = left + width / 2
    return (
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="{colour}"/>'
        f'<text x="{centre}" y="{top + 18}" class="name">{escape(name)}</text>'
        f'<text x="{centre}" y="{top + 34}" class="what">{escape(what)}</text>'
    )


def _line(from_x: float, from_y: float, to_x: float, to_y: float, *, dashed: bool = False) -> str:
    return f'<path d="M{from_x} {from_y}L{to_x} {to_y}" class="{"dashed" if dashed else "line"}"/>'


def _note(left: float, top: float, text: str) -> str:
    return f'<text x="{left}" y="{top}" class="note">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(svg(scenario.parse(scenario.preset_text(NAME), NAME)), encoding="utf-8")
