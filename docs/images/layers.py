"""The picture of layers and packages in docs/architecture.md, drawn from the import contract in pyproject.toml.

Run ``python -m docs.images.layers``; it writes ``layers.svg`` beside this file.
"""

import tomllib
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = HERE / "layers.svg"
PYPROJECT = HERE.parents[1] / "pyproject.toml"
WIDTH, MARGIN, ROW, GAP = 960, 20, 30, 6
PACKAGES = {
    "ladders": "which renditions",
    "encoder": "FFmpeg on Dask",
    "packager": "CMAF, HLS, DASH",
    "origin": "HTTP to players",
    "cdn_sim": "edge caches",
}
COLOURS = {"app": "#f4b860", "packages": "#5aa9c9", "core": "#8fb98b", "benchmarks": "#b9b4c7"}


def layers() -> list[list[str]]:
    """The layers of the import contract, top first; a layer's members never import each other."""
    contract = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"][0]
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def svg() -> str:
    """Draw one block for the application, one for the packages between and one for the core."""
    blocks: list[tuple[str, list[list[str]]]] = []
    for layer in layers():
        kind = next((k for k in ("app", "core") if layer[0].startswith(f"headend.{k}")), "packages")
        kind = "benchmarks" if layer == ["benchmarks"] else kind
        if not blocks or blocks[-1][0] != kind:
            blocks.append((kind, []))
        blocks[-1][1].append(layer)
    parts: list[str] = []
    top = MARGIN
    for number, (kind, rows) in enumerate(blocks):
        if number:
            parts.append(f'<path d="M{WIDTH / 2} {top - 26}v18" class="arrow" marker-end="url(#head)"/>')
        title = {"app": "headend/app: imports everything below", "core": "headend/core: imported by everything above"}
        heading = title.get(kind, "packages that never import each other" if kind == "packages" else "")
        height = 12 + (20 if heading else 0) + sum(_height(kind) + GAP for _ in rows)
        parts.append(
            f'<rect x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="10" class="block" '
            f'stroke="{COLOURS[kind]}"/>'
        )
        at = top + 10
        if heading:
            parts.append(f'<text x="{MARGIN + 14}" y="{at + 12}" class="heading">{escape(heading)}</text>')
            at += 22
        for row in rows:
            parts += _row(kind, row, at)
            at += _height(kind) + GAP
        top += height + 30
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - 10}"
font-family="sans-serif" font-size="13">
<style>
.block {{ fill: #ffffff; stroke-width: 2; }}
.heading {{ font-weight: bold; fill: #333333; }}
.name {{ fill: #1b1b1b; text-anchor: middle; }}
.what {{ fill: #333333; text-anchor: middle; font-size: 11px; }}
.arrow {{ stroke: #555555; stroke-width: 2; fill: none; }}
</style>
<defs><marker id="head" markerWidth="8" markerHeight="8" refX="4" refY="3" orient="auto">
<path d="M0 0l6 3l-6 3z" fill="#555555"/></marker></defs>
<rect width="100%" height="100%" fill="#fafafa"/>
{chr(10).join(parts)}
</svg>
"""


def _height(kind: str) -> int:
    return 46 if kind == "packages" else ROW - GAP


def _row(kind: str, row: list[str], top: int) -> list[str]:
    inner = WIDTH - 2 * MARGIN - 24
    width = (inner - GAP * (len(row) - 1)) / len(row)
    parts = []
    for number, name in enumerate(row):
        left = MARGIN + 12 + number * (width + GAP)
        short = name.removeprefix("headend.app.").removeprefix("headend.core.")
        middle = left + width / 2
        parts.append(
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_height(kind)}" rx="5" '
            f'fill="{COLOURS[kind]}" fill-opacity="0.45"/>'
        )
        if kind == "packages":
            parts.append(f'<text x="{middle:.1f}" y="{top + 19}" class="name">{escape(short)}/</text>')
            parts.append(f'<text x="{middle:.1f}" y="{top + 36}" class="what">{escape(PACKAGES[name])}</text>')
        else:
            parts.append(f'<text x="{middle:.1f}" y="{top + 17}" class="name">{escape(short)}</text>')
    return parts


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
