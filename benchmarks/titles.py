"""Measures the savings of per-title ladders on clips that no ladder was tuned on.

Each clip is analysed like ``headend submit --fit per-title``. Then three ladders are encoded with their caps and scored
on the same screen: the title's, the preset's, and for H.264 an older preset whose rungs were not placed along a hull.
They are compared by their bits at equal VMAF.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from math import exp, log, sqrt
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import charts, clips
from encoder import encoding
from encoder.cluster import Done, TaskRun
from encoder.costs import Pricing, measured
from encoder.measuring import spacing
from encoder.planning import Draft
from headend.app import deciding, surveying
from headend.app.analysis import MIN_EXCERPTS, Analyst
from headend.app.request import Request
from headend.core.media import Codec, Effort, VideoRendition
from headend.core.media.analysis import Excerpt, Trial
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings, Targets
from headend.core.storage import open_store
from ladders import choosing, fitting, loading
from ladders.hull import CurvePoint, inverted, rate_saving
from ladders.ladder import FramePolicy, Ladder, VideoRung

FRAMES, QUICK_FRAMES = 48, 24
SEGMENT_S = Fraction(1)
"""Short GOPs, so that a clip has several."""
CAMERAS = (
    "[0:v]crop=640:360[a];[1:v]pad=640:360:0:44[b];[2:v]trim=start_frame=100,setpts=PTS-STARTPTS,hflip,pad=640:360:0:44[c];"
    "[3:v]trim=start_frame=60,setpts=PTS-STARTPTS,vflip,crop=640:360[d];[a][b][c][d]xstack=grid=2x2"
)
CLIPS: dict[str, tuple[tuple[str, ...], str]] = {
    "four cameras": ((clips.CITY, clips.STREET, clips.STREET, clips.CITY), CAMERAS),
    "city": ((clips.CITY,), "null"),
    "street": ((clips.STREET,), "null"),
    "street, dark and noisy": ((clips.STREET,), "lutyuv=y=val*0.45,noise=alls=5:allf=t:all_seed=2"),
    "street, out of focus": ((clips.STREET,), "gblur=sigma=1.5"),
    "fractal": ((), "mandelbrot=s=1280x720:rate=24:start_scale=0.4:end_scale=0.05:end_pts=300"),
    "shapes and digits": ((), "testsrc2=s=1280x720:rate=24"),
    "slides": ((), "mandelbrot=s=1280x720:rate=2:start_scale=1:end_scale=0.01:end_pts=8,fps=24"),
}
"""Clips that no ladder was tuned on: films, and FFmpeg's filter graph."""
DEFAULT_CODECS = (Codec.AVC,)
_BEFORE = (
    (320, 180, 75, 31.0), (416, 234, 105, 31.3), (416, 234, 145, 29.0), (480, 270, 220, 28.5), (512, 288, 290, 28.0),
    (640, 360, 365, 27.6), (640, 360, 600, 24.0), (768, 432, 730, 25.5), (768, 432, 1100, 22.5),
    (854, 480, 1400, 22.5), (960, 540, 2000, 22.0), (1024, 576, 2400, 22.0), (1280, 720, 3000, 22.9),
    (1280, 720, 4500, 20.0), (1920, 1080, 6000, 21.9), (1920, 1080, 7800, 20.0),
)  # fmt: skip
"""The older H.264 rungs of ``studio``: width, height, average in kb/s, rate factor."""
TARGETS = {Codec.AVC: -0.03, Codec.HEVC: -0.02, Codec.AV1: -0.02, Codec.VP9: -0.02}
BEFORE_TARGET = -0.15
RATE_TARGET, VMAF_TARGET = 0.04, 0.8
FILM_S, TRAILER_S = 7200, 120
FILM_TARGET, TRAILER_TARGET = 0.05, 0.15


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded rung.

    Attributes:
        lines: Height of the picture.
        crf: Constant rate factor.
        kbps: Average bitrate.
        vmaf: Mean VMAF.
    """

    lines: int
    crf: float
    kbps: float
    vmaf: float

    @property
    def point(self) -> CurvePoint:
        """The rung as a point of a rate-quality curve."""
        return CurvePoint(self.lines, self.crf, self.kbps, self.vmaf)


@dataclass(frozen=True, slots=True)
class Row:
    """Result of a clip with a codec.

    Attributes:
        clip: Name of the clip.
        codec: Codec.
        predicted: The title's rungs as predicted; empty if the preset's are kept.
        titled: The title's rungs as encoded.
        fixed: The preset's rungs as encoded.
        before: The older preset's rungs as encoded; empty for codecs without one.
        trial_frame_s: CPU seconds of all trials per frame, for a title long enough to score only some frames.
        encode_frame_s: CPU seconds per frame to encode all rungs of the preset.
        encode_predicted: Measured divided by predicted CPU seconds for encoding the preset's rungs.
    """

    clip: str
    codec: Codec
    predicted: tuple[CurvePoint, ...]
    titled: tuple[Encoded, ...]
    fixed: tuple[Encoded, ...]
    before: tuple[Encoded, ...]
    trial_frame_s: float
    encode_frame_s: float
    encode_predicted: float

    @property
    def saving(self) -> float:
        """Difference in bits between the title's rungs and the preset's at equal VMAF, as a share."""
        return _saving(self.titled, self.fixed)

    @property
    def saving_before(self) -> float | None:
        """Difference in bits between the title's rungs and the older preset's."""
        return _saving(self.titled, self.before) if self.before else None

    @property
    def fixed_saving(self) -> float | None:
        """Difference in bits between the preset's rungs and the older preset's."""
        return _saving(self.fixed, self.before) if self.before else None

    @property
    def inversions(self) -> tuple[int, int]:
        """Adjacent rungs of which the larger one has a lower VMAF: in the preset, and in the title's ladder."""
        return len(inverted([each.point for each in self.fixed])), len(inverted([each.point for each in self.titled]))

    @property
    def rate_error(self) -> float:
        """RMS of the relative errors of predicted bitrates; 0 without predictions."""
        return _rms(encoded.kbps / predicted.kbps - 1 for predicted, encoded in self._pairs)

    @property
    def vmaf_error(self) -> float:
        """RMS of the errors of predicted VMAF; 0 without predictions."""
        return _rms(encoded.vmaf - predicted.vmaf for predicted, encoded in self._pairs)

    @property
    def _pairs(self) -> Iterator[tuple[CurvePoint, Encoded]]:
        return zip(self.predicted, self.titled, strict=True) if self.predicted else iter(())


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        frames: Frames per clip.
        effort: Effort of the encoders.
        model: VMAF model.
        survey_frame_s: CPU seconds of the survey per frame.
        rows: Results by clip and codec.
    """

    frames: int
    effort: Effort
    model: str
    survey_frame_s: float
    rows: tuple[Row, ...]

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """Codecs of the rows."""
        return tuple(dict.fromkeys(row.codec for row in self.rows))

    def share(self, duration_s: float) -> tuple[float, int]:
        """Estimate the cost of analysing a title as a share of encoding it with all codecs of the rows.

        Args:
            duration_s: Duration of the title.

        Returns:
            The share, and the number of excerpts of two seconds: as many as fit into five per cent, but at least four.
        """
        by_codec = [[row for row in self.rows if row.codec is codec] for codec in self.codecs]
        trial_s = sum(mean(row.trial_frame_s for row in rows) for rows in by_codec)
        encode_s = sum(mean(row.encode_frame_s for row in rows) for rows in by_codec)
        each = 2 * trial_s / (duration_s * encode_s)
        survey = self.survey_frame_s / encode_s
        count = min(int(duration_s / 2), max(MIN_EXCERPTS, int((FILM_TARGET - survey) / each)))
        return survey + count * each, count


def measure(
    codecs: Collection[Codec] = DEFAULT_CODECS,
    *,
    quick: bool,
    only: Collection[str] = (),
    effort: Effort = Effort.STANDARD,
    earlier: Report | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Analyse, encode and score clips.

    Args:
        codecs: Codecs.
        quick: Use shorter clips: a functional check, not a measurement.
        only: Names of clips; empty for all.
        effort: Effort of the encoders.
        earlier: Result of an earlier run, whose other clips and codecs are kept.
        on_step: Called with a description of each step.

    Raises:
        ConfigError: The films are not installed.
        ToolFailed: FFmpeg failed.
    """
    frames = QUICK_FRAMES if quick else FRAMES
    alike = earlier if earlier and (earlier.frames, earlier.effort) == (frames, effort) else None
    rows = {(row.clip, row.codec): row for row in alike.rows} if alike else {}
    surveys = [alike.survey_frame_s] if alike else []
    model = ""
    for name, recipe in CLIPS.items():
        if only and name not in only:
            continue
        with TemporaryDirectory(prefix="headend-bench-") as scratch:
            folder = Path(scratch)
            master = _master(recipe, folder, frames)
            for codec in codecs:
                on_step(f"{name}, {codec}")
                row, survey_s, model = _measure(name, codec, master, folder, effort)
                rows[name, codec] = row
                surveys.append(survey_s / frames)
    return Report(frames, effort, model, mean(surveys), tuple(rows.values()))


def _master(recipe: tuple[tuple[str, ...], str], folder: Path, frames: int) -> Path:
    films, graph = recipe
    path = folder / "master.mkv"
    rate = str(clips.FRAME_RATE)
    inputs = [word for film in films for word in ("-stream_loop", "-1", "-r", rate, "-i", str(clips.locate(film)))]
    colour = ("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709")
    clips.ffmpeg(
        *inputs, *("-filter_complex", f"{graph},format=yuv420p", "-frames:v", str(frames), "-r", rate),
        *("-c:v", "ffv1", *colour, str(path)),
    )  # fmt: skip
    return path


def _measure(name: str, codec: Codec, master: Path, folder: Path, effort: Effort) -> tuple[Row, float, str]:
    ladder = choosing.select(loading.load("studio"), codecs=[codec.value])
    settings = StoreSettings(str(folder / f"store-{codec}"))
    encode = EncodeSettings(effort=effort, thumbnails=False, segment_s=SEGMENT_S, chunk_s=Fraction(600))
    request = Request(
        str(master), "clip", ladder, settings, ClusterSettings(), encode, targets=Targets(analysis_share=1e9)
    )
    probe = deciding.inspect(str(master), settings)
    fixed = deciding.draft_for(request, probe)
    run = partial(_run, folder)
    titled, found = deciding.fitted_draft(request, probe, open_store(settings), run=run)
    assert found is not None
    analysis, grid = found.analysis, fixed.plan.grid
    analyst = Analyst(
        fixed, probe, ladder, Targets(), settings=settings, store=open_store(settings), clusters=request.cluster,
        run=run, on_event=lambda _: None, on_step=lambda _: None,
    )  # fmt: skip
    old: tuple[VideoRendition, ...] = ()
    if codec is Codec.AVC:
        shown = replace(probe, video=fixed.conformed.kept, audio=())
        old = fitting.fit(_of_before(ladder), shown, frame_rate=grid.frame_rate).video
    encoded, encode_s, spared_s = {}, {}, {}
    points = analysis.codecs[0].rungs
    placed = titled.plan.video if points else ()
    for kind, renditions in (("titled", placed), ("fixed", fixed.plan.video), ("before", old)):
        encoded[kind], encode_s[kind], spared_s[kind] = _encode(analyst, fixed, renditions, folder)
    predicted_s = Pricing(measured(), fixed.conformed, effort).video_s(fixed.plan.video, grid.frame_count)
    trial_s = analysis.trials_cpu_s / grid.frame_count - analysis.trials * spared_s["fixed"]
    row = Row(
        clip=name,
        codec=codec,
        predicted=points,
        titled=encoded["titled"] or encoded["fixed"],
        fixed=encoded["fixed"],
        before=encoded["before"],
        trial_frame_s=trial_s,
        encode_frame_s=encode_s["fixed"] / grid.frame_count,
        encode_predicted=encode_s["fixed"] / predicted_s,
    )
    return row, analysis.survey_cpu_s, analysis.model


def _of_before(ladder: Ladder) -> Ladder:
    rungs = [
        VideoRung(
            Codec.AVC, width, height, average, round(1.5 * average), 2 * average, crf,
            FramePolicy.SOURCE, default=average == 2000,
        )
        for width, height, average, crf in _BEFORE
    ]  # fmt: skip
    return replace(ladder, name="studio-before", video=tuple(rungs))


def _encode(
    analyst: Analyst, draft: Draft, renditions: Sequence[VideoRendition], folder: Path
) -> tuple[tuple[Encoded, ...], float, float]:
    """Encode a whole clip into renditions with their caps, in order of their bitrates, and score every frame.

    Returns:
        The rungs; the CPU seconds to encode them; and the additional CPU seconds per frame and rung for scoring every
        frame instead of some, as in a long title.
    """
    frames, grid = draft.plan.grid.frame_count, draft.plan.grid
    whole = Excerpt(0, 0, frames, 1, 1.0)
    encoded: list[Encoded] = []
    cpu_s = spared_s = 0.0
    ordered = sorted(renditions, key=lambda rendition: rendition.average_bps)
    for start in range(0, len(ordered), 8):
        group = [
            (Trial(r.codec, r.height_px, r.crf + number / 1000), r)
            for number, r in enumerate(ordered[start : start + 8])
        ]
        named = [(trial, replace(rendition, id=trial.id)) for trial, rendition in group]
        task = analyst.makes.trial(whole, named, tuple(trial.id for trial, _ in named))
        with TemporaryDirectory(dir=folder) as name:
            scratch = Path(name)
            done = encoding.encode(
                task.work, input_url=draft.plan.master.url, scratch=scratch,
                cancelled=lambda: False, on_frames=lambda _: None,
            )  # fmt: skip
            cpu_s += done.cpu_s
            scores = surveying.scored(task, scratch, 0.0)
            if not start:
                few = surveying.scored(replace(task, every=spacing(grid.gop_frames)), scratch, 0.0)
                spared_s = (sum(s.cpu_s for s in scores) - sum(s.cpu_s for s in few)) / len(few) / frames
        for (_, rendition), score in zip(group, scores, strict=True):
            kbps = float(score.size_bytes * 8 / 1000 / grid.duration_s)
            encoded.append(Encoded(rendition.height_px, rendition.crf, kbps, score.vmaf))
    return tuple(encoded), cpu_s, spared_s


def _run(
    folder: Path, tasks: Sequence[Any], perform: Callable[[TaskRun], Any], _settings: Any,
    on_event: Callable[[Any], None], *, tool: str | None = None, **_others: Any,  # noqa: ARG001
) -> None:  # fmt: skip
    """Run tasks here, two at once, without a cluster."""

    def one(task: Any) -> Any:
        return perform(TaskRun(task, 1, "here", folder, lambda: False, lambda _: None, lambda: None))

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(one, tasks):
            on_event(Done(found))


def _saving(ours: Sequence[Encoded], theirs: Sequence[Encoded]) -> float:
    return rate_saving([each.point for each in ours], [each.point for each in theirs])


def _rms(errors: Iterable[float]) -> float:
    """Root mean square; 0 of nothing."""
    squares = [error * error for error in errors]
    return sqrt(mean(squares)) if squares else 0.0


def mean_saving(savings: Sequence[float]) -> float:
    """The mean of savings, by their logarithms."""
    return exp(mean(log(1 + saving) for saving in savings)) - 1 if savings else 0.0


# --- targets and picture ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """A target, and whether it is reached.

    Attributes:
        what: For people.
        found: The value.
        wanted: The target.
        met: Whether it is reached.
    """

    what: str
    found: str
    wanted: str
    met: bool


def findings(report: Report) -> tuple[Finding, ...]:
    """Hold a report against all targets."""
    return tuple(_findings(report))


def _findings(report: Report) -> Iterator[Finding]:
    for codec, wanted in TARGETS.items():
        rows = [row for row in report.rows if row.codec is codec]
        if not rows:
            continue
        saving, worst = mean_saving([row.saving for row in rows]), max(row.saving for row in rows)
        yield Finding(
            f"{codec}: bits at equal VMAF against the preset, mean",
            f"{saving:+.1%}",
            f"{wanted:+.0%}",
            saving <= wanted,
        )
        yield Finding(f"{codec}: the same, worst clip", f"{worst:+.1%}", "+1%", worst <= 0.01)
        before = [row.saving_before for row in rows if row.saving_before is not None]
        if before:
            mean_before, worst_before = mean_saving(before), max(before)
            yield Finding(
                f"{codec}: against the rungs of before, mean", f"{mean_before:+.1%}", f"{BEFORE_TARGET:+.0%}",
                mean_before <= BEFORE_TARGET,
            )  # fmt: skip
            yield Finding(f"{codec}: the same, worst clip", f"{worst_before:+.1%}", "0%", worst_before <= 0)
        inversions = sum(row.inversions[1] for row in rows)
        yield Finding(f"{codec}: inverted rungs", str(inversions), "0", inversions == 0)
        placed = [row for row in rows if row.predicted]
        yield Finding(f"{codec}: clips with rungs of their own", f"{len(placed)} of {len(rows)}", "", True)
        rate, vmaf = _rms(row.rate_error for row in placed), _rms(row.vmaf_error for row in placed)
        yield Finding(f"{codec}: rate off, rms", f"{rate:.1%}", f"{RATE_TARGET:.0%}", rate <= RATE_TARGET)
        yield Finding(f"{codec}: VMAF off, rms", f"{vmaf:.2f}", f"{VMAF_TARGET}", vmaf <= VMAF_TARGET)
    if report.rows:
        names = ", ".join(report.codecs)
        for duration_s, name, most in ((FILM_S, "two hours", FILM_TARGET), (TRAILER_S, "two minutes", TRAILER_TARGET)):
            share, count = report.share(duration_s)
            what = f"{names}: analysis of {name}, {count} excerpts, share of the encode"
            yield Finding(what, f"{share:.1%}", f"{most:.0%}", share <= most)


def draw(report: Report, path: Path) -> None:
    """Draw the rungs of each clip and codec: of the title and of the preset.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if not report.rows:
        return
    names = [f"{row.clip}, {row.codec}" for row in report.rows]
    with charts.panels(path, names, f"Ladders per title, {report.effort} effort") as axes:
        for axis, row in zip(axes, report.rows, strict=True):
            for rungs, colour, marker, label in (
                (row.before, charts.OTHERS, "x", "before"),
                (row.fixed, charts.OTHERS, "o", "preset"),
                (row.titled, charts.OURS, "o", "title"),
            ):
                if rungs:
                    rates, scores = [each.kbps for each in rungs], [each.vmaf for each in rungs]
                    axis.plot(rates, scores, marker, color=colour, markersize=5, label=label)
            axis.set_xscale("log")
            axis.set_xlabel("kb/s")
            axis.set_ylabel("VMAF")
            axis.legend(frameon=False, fontsize=8)
