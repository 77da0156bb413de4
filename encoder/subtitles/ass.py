r"""Convert events of Advanced SubStation Alpha to cues, with position and without drawings.

FFmpeg converts every format but WebVTT to ASS events. So this module also reads SubRip, 3GPP text and CEA-608.

Sources: "ASS File Format Specification" (libass wiki), and libass where that specifies nothing; W3C, WebVTT, section
6.1 (settings).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from encoder.subtitles.webvtt import clean
from headend.core.media import Cue

_FIELDS = 9
"""Number of fields of an event in FFmpeg's packets: number, layer, style, name, three margins, effect, text."""
_DEFAULT_SIZE = (384, 288)
"""Size of the coordinate system of scripts that don't state it."""
_SAME_POSITION_PERCENT = 2.0
"""Events with the same text that are at most this far apart are one text with its outline or shadow."""
_MAX_POSITIONS = 16
"""Maximum number of positions of the same text at the same time."""
_V4_ALIGNMENTS = {1: 1, 2: 2, 3: 3, 5: 7, 6: 8, 7: 9, 9: 4, 10: 5, 11: 6}
"""ASS's alignment, which is numbered as on a keypad, by SubStation Alpha's alignment."""
_ENTITY = re.compile(r"&(?!(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z]{2,8});)")


@dataclass(frozen=True, slots=True)
class Style:
    """The default look of events.

    Attributes:
        bold: Whether they are bold.
        italic: Whether they are italic.
        underlined: Whether they are underlined.
        alignment: Position as on a keypad: 2 is the bottom centre, 8 the top centre.
    """

    bold: bool = False
    italic: bool = False
    underlined: bool = False
    alignment: int = 2


@dataclass(frozen=True)
class Script:
    """The part of a file before its events.

    Attributes:
        header: Its sections as text.
    """

    header: str

    @cached_property
    def size(self) -> tuple[float, float]:
        """Width and height of the coordinate system."""
        width, height = self._number("PlayResX"), self._number("PlayResY")
        if width and height:
            return width, height
        if height:
            return height * 4 / 3, height
        return (width, width * 3 / 4) if width else _DEFAULT_SIZE

    @cached_property
    def wraps_at_newline(self) -> bool:
        r"""Whether ``\n`` is a line break, like ``\N``."""
        return self._number("WrapStyle") == 2

    @cached_property
    def styles(self) -> dict[str, Style]:
        """Styles by name."""
        return dict(_styles(self.header))

    def _number(self, name: str) -> float:
        found = re.search(rf"^{name}:[ \t]*(\d{{1,5}})", self.header, re.MULTILINE | re.IGNORECASE)
        return float(found[1]) if found else 0.0


@dataclass(slots=True)
class _State:
    """The state of overrides within an event."""

    style: Style
    current: Style
    drawing: bool = False
    alignment: int | None = None
    position: tuple[float, float] | None = None
    runs: list[tuple[Style, str]] = field(default_factory=list)


def cues(script: Script, events: Iterable[tuple[int, int, str]]) -> tuple[Cue, ...]:
    """Convert events to cues, in the same order.

    Args:
        script: The part of the file before the events.
        events: Start and end of each event in milliseconds, and its fields as in FFmpeg's packets.

    Returns:
        One cue for each event with text; events with the same text at the same time and position become one cue.
    """
    by_text: dict[tuple[int, int, str], list[Cue]] = {}
    for start_ms, end_ms, event in events:
        text, settings = _read_event(script, event)
        if text and start_ms < end_ms:
            same = by_text.setdefault((start_ms, end_ms, text), [])
            if len(same) < _MAX_POSITIONS and not any(_same_position(cue.settings, settings) for cue in same):
                same.append(Cue(start_ms, end_ms, text, settings))
    return tuple(cue for same in by_text.values() for cue in same)


def _styles(header: str) -> Iterator[tuple[str, Style]]:
    names: list[str] = []
    v4 = False
    for line in header.splitlines():
        kind, _, rest = line.partition(":")
        match kind.strip().lower():
            case "[v4 styles]":
                v4 = True
            case "format" if not names:
                names = [name.strip().lower() for name in rest.split(",")]
            case "style" if names:
                values = dict(zip(names, (value.strip() for value in rest.split(",", len(names) - 1)), strict=False))
                yield values.get("name", "").lstrip("*"), _style(values, v4=v4)
            case "[events]":
                return


def _style(values: Mapping[str, str], *, v4: bool) -> Style:
    bold, italic, underlined = (values.get(name, "0") not in ("", "0") for name in ("bold", "italic", "underline"))
    stated = values.get("alignment", "")
    number = int(stated) if re.fullmatch(r"\d{1,2}", stated) else 2
    alignment = _V4_ALIGNMENTS.get(number, 2) if v4 else number
    return Style(bold, italic, underlined, alignment if 1 <= alignment <= 9 else 2)


def _read_event(script: Script, event: str) -> tuple[str, str]:
    """An event's text in WebVTT's syntax, and its settings."""
    parts = event.split(",", _FIELDS - 1)
    if len(parts) < _FIELDS:
        return "", ""
    style = script.styles.get(parts[2].strip().lstrip("*"), script.styles.get("Default", Style()))
    state = _State(style, style)
    text, done = parts[-1], 0
    while done < len(text):
        opened = text.find("{", done)
        closed = text.find("}", opened) if opened >= 0 else -1
        if closed < 0:
            # A brace that is never closed is plain text.
            _add_text(script, state, text[done:])
            break
        if text[max(0, opened - 1) : opened] == "\\" and opened > done:
            _add_text(script, state, text[done : opened - 1] + "{")
            done = opened + 1
            continue
        _add_text(script, state, text[done:opened])
        _apply_block(script, state, text[opened + 1 : closed])
        done = closed + 1
    return clean(_with_tags(state.runs)), _settings(script, state)


def _add_text(script: Script, state: _State, text: str) -> None:
    if state.drawing or not text:
        return
    plain = (
        text.replace(r"\N", "\n")
        .replace(r"\n", "\n" if script.wraps_at_newline else " ")
        .replace(r"\h", "\N{NO-BREAK SPACE}")
        .replace(r"\{", "{")
        .replace(r"\}", "}")
    )
    state.runs.append((state.current, plain))


def _apply_block(script: Script, state: _State, block: str) -> None:
    for tag in block.split("\\")[1:]:
        _apply_tag(script, state, tag.strip())


def _apply_tag(script: Script, state: _State, tag: str) -> None:
    if found := re.fullmatch(r"p(\d*)", tag):
        state.drawing = int(found[1] or 0) > 0
    elif found := re.fullmatch(r"b(\d{0,4})", tag):
        weight = int(found[1]) if found[1] else 700 * state.style.bold
        state.current = replace(state.current, bold=weight == 1 or weight >= 600)
    elif found := re.fullmatch(r"i([01]?)", tag):
        state.current = replace(state.current, italic=bool(int(found[1])) if found[1] else state.style.italic)
    elif found := re.fullmatch(r"u([01]?)", tag):
        state.current = replace(state.current, underlined=bool(int(found[1])) if found[1] else state.style.underlined)
    elif tag.startswith("r"):
        state.current = script.styles.get(tag[1:].strip(), state.style)
    elif found := re.fullmatch(r"an([1-9])", tag):
        state.alignment = state.alignment or int(found[1])
    elif found := re.fullmatch(r"a(\d{1,2})", tag):
        state.alignment = state.alignment or _V4_ALIGNMENTS.get(int(found[1]))
    elif found := re.match(r"(?:pos|move)[ \t]*\([ \t]*(-?[\d.]{1,9})[ \t]*,[ \t]*(-?[\d.]{1,9})[ \t]*[,)]", tag):
        state.position = state.position or _coordinates(found)


def _coordinates(found: re.Match[str]) -> tuple[float, float] | None:
    try:
        return float(found[1]), float(found[2])
    except ValueError:
        return None


def _with_tags(runs: Iterable[tuple[Style, str]]) -> str:
    """Runs of text with WebVTT's tags; neighbours with the same style share tags."""
    joined: list[tuple[str, str]] = []
    for style, text in runs:
        tags = "".join(tag for tag, on in (("b", style.bold), ("i", style.italic), ("u", style.underlined)) if on)
        if joined and joined[-1][0] == tags:
            joined[-1] = (tags, joined[-1][1] + text)
        else:
            joined.append((tags, text))
    return "".join(
        _wrap_in_tags(tags, _ENTITY.sub("&amp;", text).replace("<", "&lt;")) if text.strip() else text
        for tags, text in joined
    )


def _wrap_in_tags(tags: str, text: str) -> str:
    """Put text between tags, but not the spaces and line breaks at its ends."""
    inner = text.strip(" \n")
    opened = "".join(f"<{tag}>" for tag in tags)
    closed = "".join(f"</{tag}>" for tag in reversed(tags))
    before, _, after = text.partition(inner)
    return f"{before}{opened}{inner}{closed}{after}"


def _settings(script: Script, state: _State) -> str:
    """A cue's position as WebVTT's settings; empty for the default, the bottom centre."""
    alignment = state.alignment or state.style.alignment
    row, column = divmod(alignment - 1, 3)
    side = ("left", "center", "right")[column]
    if state.position is not None:
        x_percent, y_percent = (100 * at / size for at, size in zip(state.position, script.size, strict=True))
        if 0 <= x_percent <= 100 and 0 <= y_percent <= 100:
            line = f"line:{_number(y_percent)}%{(',end', ',center', '')[row]}"
            anchor = ("line-left", "center", "line-right")[column]
            return f"{line} position:{_number(x_percent)}%,{anchor} align:{side}"
    line = ("", "line:50%,center", "line:0")[row]
    return " ".join(filter(None, (line, "" if side == "center" else f"align:{side}")))


def _number(percent: float) -> str:
    return f"{percent:.1f}".removesuffix(".0")


def _same_position(left: str, right: str) -> bool:
    """Whether two cue settings mean almost the same position."""
    number = r"[\d.]+(?=%)"
    if re.sub(number, "", left) != re.sub(number, "", right):
        return False
    pairs = zip(re.findall(number, left), re.findall(number, right), strict=True)
    return all(abs(float(one) - float(other)) <= _SAME_POSITION_PERCENT for one, other in pairs)
