"""One attempt at making a task's files: encode, find damage, and encode again what exceeds a cap or is too bad."""

import errno
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from encoder import cluster, damage, encoding, sandbox, text
from encoder.subtitles import sidecars
from headend.app import capping
from headend.app.quality import flooring, scoring
from headend.app.storing import cut_rendition
from headend.app.task_context import TaskContext
from headend.core.errors import ChunkRejected, PlanMismatch, ToolFailed
from headend.core.media import Damage, EncodedTrack, EncodeTask, Kind
from headend.core.media.quality import Measurement, MeasureTask
from headend.core.storage import masters
from headend.core.timing import Chunk


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a task, ready to be cut into segments.

    Attributes:
        encoded: What all encodes of the task cost, and what they reported.
        damage: Damage of the master that was concealed.
        capped: What encoding again for the caps changed.
        measurements: Measurements for the quality floor.
    """

    encoded: encoding.Encoded
    damage: tuple[Damage, ...]
    capped: capping.Capped
    measurements: Sequence[Measurement]


@dataclass(slots=True)
class EncodeRun:
    """Makes a task's files in a folder.

    Attributes:
        context: What all tasks of the plan have in common.
        run: The task, and its callbacks.
        source: The master as FFmpeg reads it.
        scratch: The folder.
    """

    context: TaskContext
    run: cluster.TaskRun
    source: masters.Source
    scratch: Path
    _damage: tuple[Damage, ...] = ()

    def make_files(self) -> Files:
        """Encode the task.

        Raises:
            HeadendError: The attempt failed.
        """
        run, context = self.run, self.context
        self._place_captions()
        finished = encoding.encode(
            run.task,
            input_url=self.source.url,
            scratch=self.scratch,
            cancelled=run.cancelled,
            on_frames=run.on_frames,
            master_bytes=context.master.size_bytes,
            source_progress=self.source.progress,
        )
        # Missing frames are filled in if damage is allowed, so the output alone doesn't show that one is missing.
        if finished.decode_errors or context.allow_damaged:
            self._find_damage()
        capped = self._cap(run.task, self.scratch)
        measurements, finished, capped = self._raise_to_floor(capped.total(finished), capped)
        run.on_encoded()
        return Files(finished, self._damage, capped, measurements)

    @contextmanager
    def explained_errors(self) -> Iterator[None]:
        """Replace errors of encoders and packagers by their causes: a full disk, or a damaged or unreachable master."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise encoding.no_space_error(self.scratch) from error
            raise
        except (ChunkRejected, ToolFailed) as error:
            if (failure := self.source.failure()) is not None:  # FFmpeg saw only an early end of the master
                raise failure from None
            # If the master is damaged, retrying is useless.
            self._find_damage()
            if not isinstance(error, ChunkRejected):
                raise
            if self._damage:
                raise damage.damage_error(self.context.title, self.context.master, self._damage, allowed=True) from None
            if "://" not in self.context.master.url:
                # A local file gives the same result at every attempt.
                raise PlanMismatch(error.message, **error.facts) from None
            raise

    def _find_damage(self) -> None:
        """Find damage in what the task reads, unless it is known; raise if there is some and none is allowed."""
        run, context = self.run, self.context
        if self._damage or not run.task.reads:
            return
        self._damage = sandbox.scan_damage(
            context.master, self.source.url, run.task.reads, progress=self.source.progress, cancelled=run.cancelled
        )
        if self._damage and not context.allow_damaged:
            raise damage.damage_error(context.title, context.master, self._damage)

    def _place_captions(self) -> None:
        """Extract captions from the picture to where the task reads them."""
        for track in self.run.task.text:
            if track.codec == text.PICTURE_CAPTIONS:
                assert track.index is not None
                extracted = sandbox.read_captions(
                    self.context.master,
                    self.source.url,
                    track.index,
                    progress=self.source.progress,
                    cancelled=self.run.cancelled,
                )
                text.write_captions(extracted, self.scratch)

    def _cap(self, task: EncodeTask, folder: Path) -> capping.Capped:
        """Encode segments of a video task again until all are below their caps."""
        if task.kind is not Kind.VIDEO:
            return capping.Capped()
        return capping.cap(
            task,
            folder,
            self.context.grid,
            self.context.divisors,
            encode=self._encode_again,
            measure=partial(_describe, self.context, task),
        )

    def _encode_again(self, task: EncodeTask, folder: Path) -> encoding.Encoded:
        """Encode a part of the task once more."""
        return encoding.encode(
            task,
            input_url=self.source.url,
            scratch=folder,
            cancelled=self.run.cancelled,
            on_frames=self._show_that_it_is_alive,
            master_bytes=self.context.master.size_bytes,
            source_progress=self.source.progress,
        )

    def _show_that_it_is_alive(self, _: int) -> None:
        """Report all frames once more: they were reported before, so the number itself doesn't change."""
        self.run.on_frames(self.run.task.chunk.frame_count)

    def _raise_to_floor(
        self, finished: encoding.Encoded, capped: capping.Capped
    ) -> tuple[Sequence[Measurement], encoding.Encoded, capping.Capped]:
        """Encode renditions again that fall below the task's quality floor.

        Returns:
            The measurements, the cost of all encodes, and what capping did.
        """
        run, context = self.run, self.context
        reencodes: list[tuple[encoding.Encoded, capping.Capped]] = []

        def encode(task: EncodeTask, folder: Path) -> None:
            encoded = self._encode_again(task, folder)
            reencodes.append((encoded, self._cap(task, folder)))

        def measure(task: MeasureTask, paths: Mapping[str, Path]) -> Measurement:
            started_s = time.monotonic()
            measured = scoring.compare(task, paths, self.source.url, run.cancelled, self._show_that_it_is_alive)
            wall_s = time.monotonic() - started_s
            return scoring.found_by(task, measured, context.grid, attempt=run.attempt, worker=run.worker, wall_s=wall_s)

        def at_cap(rendition: str, path: Path) -> frozenset[int]:
            describe = partial(_describe, context, run.task)
            return capping.at_cap(run.task, rendition, path, context.grid, measure=describe, share=flooring.AT_CAP)

        measurements = flooring.lift(run.task, self.scratch, encode=encode, measure=measure, at_cap=at_cap)
        lifted = {track.track for measurement in measurements for track in measurement.tracks if track.lifts}
        renditions = {rendition for rendition, track in context.tracks.items() if track in lifted}
        for encoded, recapped in reencodes:
            finished = recapped.total(
                replace(finished, cpu_s=finished.cpu_s + encoded.cpu_s, wall_s=finished.wall_s + encoded.wall_s)
            )
            capped = capped.updated(recapped, renditions)
        cpu_s = finished.cpu_s + sum(measurement.cpu_s for measurement in measurements)
        return measurements, replace(finished, cpu_s=cpu_s), capped


def place_sidecar(context: TaskContext, task: EncodeTask, scratch: Path) -> None:
    """Put a subtitle file where the task or its command reads it."""
    for track in task.text:
        if track.sidecar is not None:
            data = sidecars.read(track.sidecar, context.store.endpoint_url)
            text.sidecar_path(scratch).write_bytes(sidecars.prepare(data, track.codec, track.sidecar.url))


def _describe(context: TaskContext, task: EncodeTask, rendition: str, chunk: Chunk, data: memoryview) -> EncodedTrack:
    """Describe an encoded file as a part of its rendition."""
    return cut_rendition(context, replace(task, chunk=chunk), rendition, None, data).track
