"""Fitting a ladder to a title: survey, excerpts, trial encodes, hulls, rungs.

It takes the draft of a title with a ladder as the pattern, and returns an `Analysis` with a ladder to use instead. Its
tasks run on the cluster. Their results are stored below the master's digest, and reused when a run is resumed, for
another title of the same master, or with other targets.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from encoder import cluster, excerpts, measuring, trials
from encoder.costs import Pricing, measured
from encoder.planning import Draft
from encoder.scheduling import Work
from encoder.trials import Analysing, TrialSize
from headend.app.surveying import Inquiry, perform
from headend.core import documents, layout
from headend.core.errors import ObjectMissing, StorageError
from headend.core.media import Codec, Probe
from headend.core.media.analysis import (
    Complexity,
    Excerpt,
    GopComplexity,
    SurveyTask,
    Trial,
    TrialScore,
    whole,
)
from headend.core.media.quality import viewing_of
from headend.core.settings import ClusterSettings, StoreSettings, Targets
from headend.core.storage import Store
from headend.core.timing import ceil_div
from ladders import fitting, per_title, placing
from ladders.hull import CurvePoint, Hull, TrialPoint, hull, rate_saving
from ladders.ladder import Ladder

READERS = 16
"""Documents that are read in parallel, to hide the latency of S3."""
MIN_EXCERPTS = 4
FURTHER_ROUNDS = 4
"""Further rounds of trials where the first ones don't reach far enough: with noise, a CRF step of 4 may be a tenfold
rate."""
FURTHER = 1.15
"""Ratio of the number of trials to that of `encoder.trials.expected_trials`."""
REPORT_EVERY_S = 10.0
"""Interval between progress reports."""
FORMAT = 6
"""Part of the identity of a ladder. Raise it when excerpts are drawn or rungs are placed in another way."""
HULL_STEPS = 40
"""Number of points of a hull that are kept for drawing."""
MAX_CAP = 4.0
Found = TypeVar("Found", Complexity, TrialScore)


@dataclass(frozen=True, slots=True)
class CodecAnalysis:
    """The analysis of one codec.

    Attributes:
        codec: The codec.
        points: The trials, predicted for the whole title.
        hull: Points along the hull, by ascending rate.
        rungs: The rungs that were placed; empty if those of the pattern are kept.
        pattern: The pattern's rungs as predicted for this title; interpolated for sizes that were not tried.
        saving: Relative change of the rate at the pattern's quality; negative if the rungs need fewer bits.
    """

    codec: Codec
    points: tuple[TrialPoint, ...]
    hull: tuple[CurvePoint, ...]
    rungs: tuple[CurvePoint, ...]
    pattern: tuple[CurvePoint, ...]
    saving: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """A ladder for one title, and how it was derived.

    Attributes:
        ladder: The ladder.
        pattern: Name of the ladder that was fitted.
        codecs: The analysis of each codec.
        decisions: One line per decision.
        gops: Number of GOPs in the title.
        excerpts: Number of GOPs that were encoded as trials.
        trials: Number of combinations of size and rate factor that each was tried with.
        screen: Size of the screen that was scored for.
        model: The VMAF model.
        survey_cpu_s: CPU seconds of the survey, earlier runs included.
        trials_cpu_s: CPU seconds of the trials, earlier runs included.
        encode_cpu_s: Predicted CPU seconds of encoding the title.
    """

    ladder: Ladder
    pattern: str
    codecs: tuple[CodecAnalysis, ...]
    decisions: tuple[str, ...]
    gops: int
    excerpts: int
    trials: int
    screen: str
    model: str
    survey_cpu_s: float
    trials_cpu_s: float
    encode_cpu_s: float


@dataclass(frozen=True, slots=True)
class Analysed:
    """An analysis, and the work that this run did for it.

    Attributes:
        analysis: The analysis.
        results: Number of surveys and trials that it needed; 0 if the ladder itself was in the store.
        reused: Number of these that were in the store.
        cpu_s: CPU seconds of the others.
    """

    analysis: Analysis
    results: int
    reused: int
    cpu_s: float


class Analyst:
    """Carries out one analysis.

    Args:
        draft: The title drafted with the pattern.
        probe: The probe of the master.
        pattern: The ladder to fit.
        targets: The targets.
        settings: The store's settings.
        store: The store.
        clusters: Where tasks run.
        run: Runs tasks.
        on_event: Called with every event.
        on_step: Called with the name of each step.
    """

    def __init__(
        self,
        draft: Draft,
        probe: Probe,
        pattern: Ladder,
        targets: Targets,
        *,
        settings: StoreSettings,
        store: Store,
        clusters: ClusterSettings,
        run: cluster.RunTasks,
        on_event: Callable[[cluster.Event], None],
        on_step: Callable[[str], None],
    ) -> None:
        plan, conformed = draft.plan, draft.conformed
        self._draft, self._targets, self._pattern = draft, targets, pattern
        self._settings, self._store, self._clusters, self._run = settings, store, clusters, run
        self._on_event, self._on_step = on_event, on_step
        shown = replace(probe, video=conformed.kept, audio=())
        self._fixed = fitting.fit(pattern, shown, frame_rate=conformed.frame_rate)
        geometry = self._fixed.geometry
        self._tried, renditions = per_title.fit_candidates(pattern, shown, conformed.frame_rate)
        self._sizes = [TrialSize(rung.height_px, r) for rung, r in zip(self._tried.video, renditions, strict=True)]
        self._viewing = viewing_of(geometry.width_px, geometry.height_px, plan.grid.frame_rate)
        self.makes = Analysing(
            draft.commands,
            conformed,
            plan.grid,
            Pricing(measured(), conformed, plan.effort),
            viewing=self._viewing,
            shown_px=self._viewing.fitted(geometry.width_px, geometry.height_px),
            size_px=(geometry.width_px, geometry.height_px),
            master_digest=plan.master.digest,
            tool_digest=plan.tool_digest,
        )
        self._master = plan.master.digest
        self._wanted = per_title.wanted_of(self._fixed, renditions=targets.renditions, top_vmaf=targets.top_vmaf)
        self._results = self._reused = 0
        self._cpu_s = 0.0

    def analyse(self) -> Analysed:
        """Fit the ladder, or load it from the store.

        Raises:
            ConfigError: FFmpeg does not have the VMAF model.
            HeadendError: A task failed all its attempts.
        """
        surveys = self.makes.surveys(self._draft.plan.chunks)
        first = trials.first_trials(self._sizes)
        key = layout.fitted_ladder(self._draft.plan.master.digest, self._digest(surveys, first))
        try:
            kept = documents.read(Analysis, self._store.get(key), key=key)
        except ObjectMissing:
            pass
        else:
            return Analysed(kept, 0, 0, 0.0)
        measuring.check_model(self._viewing)
        parts = self._surveyed(surveys)
        gops = whole(parts)
        found = self._place(gops, first, sum(part.cpu_s for part in parts))
        if not self._store.put_if_absent(key, documents.write(found)):
            found = documents.read(Analysis, self._store.get(key), key=key)
        return Analysed(found, self._results, self._reused, self._cpu_s)

    # --- steps ---

    def _place(self, gops: Sequence[GopComplexity], first: Sequence[Trial], survey_cpu_s: float) -> Analysis:
        plan, pricing = self._draft.plan, Pricing(measured(), self._draft.conformed, self._draft.plan.effort)
        encode_s = pricing.video_s(plan.video, plan.grid.frame_count)
        count, budget_decisions = self._count(gops, encode_s)
        chosen = excerpts.draw(gops, plan.grid.gop_frames, count)
        scores = self._scores(chosen, first, "trial encodes")
        points = self._points(chosen, scores, gops)
        ranges = {codec: (wanted.lowest_kbps, wanted.highest_kbps) for codec, wanted in self._wanted.items()}
        tried = list(first)
        for _ in range(FURTHER_ROUNDS):
            further = trials.further_trials(points, top_vmaf=self._targets.top_vmaf, ranges_kbps=ranges)
            if not further:
                break
            tried += further
            scores = [*scores, *self._scores(chosen, further, "further trial encodes")]
            points = self._points(chosen, scores, gops)
        hulls = {codec: self._hull(points, codec) for codec in self._wanted}
        peak = excerpts.peak_ratio(gops, plan.grid.segment_frames // plan.grid.gop_frames)
        cap = min(MAX_CAP, max(per_title.CAP, peak))
        ladder = per_title.make_ladder(
            self._pattern,
            self._tried,
            hulls,
            self._wanted,
            self._fixed,
            frame_rate=plan.grid.frame_rate,
            cap=cap,
        )
        tried_gops = sum(ceil_div(excerpt.frame_count, plan.grid.gop_frames) for excerpt in chosen)
        decisions = [
            f"per-title ladder: {_count(len(gops), 'GOP')} surveyed, {tried_gops:,} of them tried with "
            f"{_count(len(tried), 'size and factor', 'sizes and factors')}, scored by {self._viewing.model}",
            *budget_decisions,
            *ladder.decisions,
        ]
        if cap > per_title.CAP:
            decisions.append(f"rate varies much: caps are {cap:.1f} × the average instead of {per_title.CAP:g} ×")
        codecs = tuple(self._of_codec(codec, hulls[codec], points, ladder.points[codec]) for codec in self._wanted)
        if savings := [f"{of_codec.codec} {of_codec.saving:+.1%}" for of_codec in codecs if of_codec.rungs]:
            decisions.append(f"bits at equal VMAF, predicted against {self._pattern.name}: {', '.join(savings)}")
        return Analysis(
            ladder=ladder.ladder,
            pattern=self._pattern.name,
            codecs=codecs,
            decisions=tuple(decisions),
            gops=len(gops),
            excerpts=tried_gops,
            trials=len(tried),
            screen=f"{self._viewing.width_px}x{self._viewing.height_px}",
            model=self._viewing.model,
            survey_cpu_s=survey_cpu_s,
            trials_cpu_s=sum(score.cpu_s for score in scores),
            encode_cpu_s=encode_s,
        )

    def _count(self, gops: Sequence[GopComplexity], encode_s: float) -> tuple[int, tuple[str, ...]]:
        """Return the number of excerpts that the CPU budget allows, and decisions to report."""
        frames = self._draft.plan.grid.frame_count
        expected = trials.expected_trials(self._sizes)
        each_s = FURTHER * self.makes.excerpt_s(expected, self._sizes, max(gop.frames for gop in gops))
        survey_s = self.makes.survey_s(frames)
        budget_s = self._targets.analysis_share * encode_s
        count = min(len(gops), max(MIN_EXCERPTS, int((budget_s - survey_s) / each_s)))
        share = (survey_s + count * each_s) / encode_s
        if share <= self._targets.analysis_share:
            return count, ()
        amount = f"{share:.0%} of" if share < 2 else f"{share:,.0f} times"
        return count, (
            f"analysis takes about {amount} the encode's CPU, above {self._targets.analysis_share:.0%}: "
            f"no fewer than {_count(count, 'excerpt')} can be tried",
        )

    def _points(
        self, chosen: Sequence[Excerpt], found: Sequence[TrialScore], gops: Sequence[GopComplexity]
    ) -> list[trials.TrialResult]:
        by_trial: dict[Trial, dict[int, TrialScore]] = {}
        for score in found:
            by_trial.setdefault(score.trial, {})[score.excerpt] = score
        points = []
        for trial, scores in by_trial.items():
            predicted = excerpts.predict(chosen, scores, gops, self._draft.plan.grid)
            points.append(trials.TrialResult(trial, predicted.kbps, predicted.vmaf))
        return points

    def _hull(self, points: Sequence[trials.TrialResult], codec: Codec) -> Hull:
        tried = [
            TrialPoint(point.trial.lines, point.trial.crf, max(0.1, point.kbps), point.vmaf)
            for point in points
            if point.trial.codec is codec
        ]
        return hull(tried, per_title.CRF_SCALE[codec])

    def _of_codec(
        self, codec: Codec, found: Hull, points: Sequence[trials.TrialResult], rungs: tuple[CurvePoint, ...]
    ) -> CodecAnalysis:
        pattern = per_title.of_pattern(self._tried, found, self._fixed, codec)
        return CodecAnalysis(
            codec,
            tuple(
                TrialPoint(point.trial.lines, point.trial.crf, point.kbps, point.vmaf)
                for point in points
                if point.trial.codec is codec
            ),
            placing.outline(found, codec, HULL_STEPS),
            rungs,
            pattern,
            rate_saving(rungs, pattern) if rungs and pattern else 0.0,
        )

    # --- tasks ---

    def _surveyed(self, tasks: Sequence[SurveyTask]) -> list[Complexity]:
        """Survey all chunks; return their complexity."""
        found = self._known(Complexity, {task.id: layout.survey(self._master, task.id) for task in tasks})
        missing = [task for task in tasks if task.id not in found]
        surveyed = self._results_of(missing, "surveying the master")
        return [*found.values(), *surveyed]

    def _scores(self, chosen: Sequence[Excerpt], wanted: Sequence[Trial], step: str) -> list[TrialScore]:
        """Run trials of excerpts; return their scores."""
        keys = self.makes.keys(chosen, wanted, self._sizes)
        found = self._known(TrialScore, {key: layout.trial(self._master, key) for key in keys})
        missing = {key: each for key, each in keys.items() if key not in found}
        scored = self._results_of(self.makes.trials(missing, self._sizes), step)
        return [*found.values(), *(score for scores in scored for score in scores)]

    def _known(self, kind: type[Found], places: Mapping[str, str]) -> dict[str, Found]:
        """Read those results that the store has, by their digests."""

        def read(place: str) -> Found | None:
            try:
                return documents.read(kind, self._store.get(place), key=place)
            except ObjectMissing:
                return None
            except StorageError as error:
                if error.retryable:
                    raise
                return None  # damaged or of another version: make it again

        with ThreadPoolExecutor(READERS) as pool:
            found = dict(zip(places, pool.map(read, places.values()), strict=True))
        known = {digest: each for digest, each in found.items() if each is not None}
        self._results += len(places)
        self._reused += len(known)
        return known

    def _results_of(self, tasks: Sequence[Work], step: str) -> list[Any]:
        """Run tasks; return their results."""
        if not tasks:
            return []
        results: list[Any] = []
        reported_s = time.monotonic()
        self._on_step(f"{step}: {_count(len(tasks), 'task')}")

        def note(event: cluster.Event) -> None:
            nonlocal reported_s
            if isinstance(event, cluster.Done):
                results.append(event.receipt)
                if time.monotonic() - reported_s >= REPORT_EVERY_S:
                    reported_s = time.monotonic()
                    self._on_step(f"{step}: {len(results):,} of {_count(len(tasks), 'task')}")
            self._on_event(event)

        plan = self._draft.plan
        inquiry = Inquiry(
            self._settings, plan.title, plan.master, plan.tool, plan.tool_digest, self._draft.conformed.conceal
        )
        # Longest first, so that no long task is left alone at the end.
        queue = sorted(tasks, key=lambda task: -task.cost)
        self._run(queue, partial(perform, inquiry), self._clusters, note, tool=plan.tool)
        self._cpu_s += sum(_cpu_s(result) for result in results)
        return results

    def _digest(self, surveys: Sequence[SurveyTask], first: Sequence[Trial]) -> str:
        """Return a digest of everything that the ladder depends on."""
        content = {
            "format": FORMAT,
            "surveys": [task.id for task in surveys],
            "trials": [trial.id for trial in first],
            "encoders": [self._draft.commands.alone(size.rendition) for size in self._sizes],
            "model": self._viewing.model,
            "pattern": documents.as_plain(self._pattern),
            "targets": documents.as_plain(self._targets),
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha256(canonical).hexdigest()[:20]


def _cpu_s(found: Complexity | tuple[TrialScore, ...]) -> float:
    return found.cpu_s if isinstance(found, Complexity) else sum(score.cpu_s for score in found)


def _count(number: int, singular: str, many: str = "") -> str:
    return f"{number:,} {singular if number == 1 else many or f'{singular}s'}"
