"""The part of a submit that runs tasks: encoding, measuring, and publishing releases as soon as they are complete."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from encoder import cluster
from headend.app import failures
from headend.app.deciding import scan_for_damage
from headend.app.performing import perform
from headend.app.quality import concluding
from headend.app.quality.checking import Check
from headend.app.quality.waiting import wait_for_chunks
from headend.app.request import Event, Measured, PublishedEarly, Request, Step
from headend.app.task_context import context_of
from headend.core.errors import DamagedMaster
from headend.core.media import EncodePlan, Presentation, Receipt
from headend.core.media.quality import Checking, Measurement, MeasureTask
from headend.core.media.quality_reports import QualityReport
from headend.core.storage import Store
from packager import publishing
from packager.presentation import assemble
from packager.stored_parts import StoredParts, merge_parts


@dataclass(slots=True)
class TitleJob:
    """The part of a submit that encodes, measures and publishes.

    Attributes:
        request: What the user asks for.
        store: Where the title goes.
        submitted_at: When the request was made: UTC, ISO 8601.
        plan: The plan with its tasks.
        early_plan: The plan of the early release; None if there is none.
        stored: The parts that the store has.
        on_event: Called with every event.
        run: Runs the tasks.
        check: The quality check.
        measuring: Measuring tasks that have been submitted, by id.
        measured: How many of them are done.
        submission: Random id in this run's receipts, which tells them from those of earlier runs.
    """

    request: Request
    store: Store
    submitted_at: str
    plan: EncodePlan
    early_plan: EncodePlan | None
    stored: StoredParts
    on_event: Callable[[Event], None]
    run: cluster.RunTasks
    check: Check
    measuring: dict[str, MeasureTask] = field(default_factory=dict)
    measured: int = 0
    submission: str = field(default_factory=lambda: secrets.token_hex(8))

    def publish(self, plan: EncodePlan) -> publishing.PublishResult:
        """Publish a plan whose parts are all in the store."""
        return self.publish_or_hold(assemble(plan, merge_parts(self.store, self.stored, plan.tracks)))

    def publish_or_hold(self, presentation: Presentation) -> publishing.PublishResult:
        """Write a release, and make it current unless the request holds it."""
        if self.request.hold:
            return publishing.hold(self.store, presentation, submitted_at=self.submitted_at)
        return publishing.publish(self.store, presentation, submitted_at=self.submitted_at)

    def encode(self) -> list[Receipt]:
        """Run the tasks on the cluster, record failed attempts, and publish the early release when it is complete.

        Chunks that the quality check measures in any case are measured as soon as they are encoded.
        """
        receipts: list[Receipt] = []
        plan, request = self.plan, self.request
        early_missing = set(self.stored.missing(self.early_plan.tracks)) if self.early_plan else set()
        names = {track: name for name, track in plan.tracks.items()}
        gated = self.check.level is not Checking.OFF

        def publish_early() -> None:
            # If all tasks are done, the full release is published next, so the early one is skipped.
            if self.early_plan and not early_missing and len(receipts) < len(plan.tasks):
                if gated:
                    self.on_event(cluster.Notice("the early release is published before its quality is measured"))
                self.on_event(PublishedEarly(self.publish(self.early_plan).presentation))

        def done(receipt: Receipt) -> None:
            receipts.append(receipt)
            self.stored.add(receipt)
            if early_missing:
                # A rendition has several tracks if it is encrypted in several schemes.
                stored = (names[track.track] for track in receipt.tracks if track.track in names)
                early_missing.difference_update((name, receipt.chunk) for name in stored)
                publish_early()

        if not early_missing:
            publish_early()
        waiting = wait_for_chunks(
            self.check.first_tasks(),
            plan.chunks,
            self.stored.missing(rendition.id for rendition in plan.video),
            (rendition.id for rendition in plan.video),
        )
        try:
            self._run(
                (*plan.tasks, *self._record_tasks(waiting.ready())),
                done,
                lambda receipt: self._record_tasks(waiting.follow(receipt)),
            )
        except DamagedMaster:
            if plan.allow_damaged:
                raise
            scan_for_damage(plan, request.store, self.on_event)
            raise
        return receipts

    def judge(self, presentation: Presentation) -> QualityReport | None:
        """Measure suspect segments, write the report, and check the release against the quality rules.

        Raises:
            QualityRefused: The release fails a rule; it is complete, but not current.
        """
        if self.check.level is Checking.OFF:
            return None
        if tasks := self.check.suspect_tasks(presentation):
            self.on_event(Step("measuring quality"))
            self._run(self._record_tasks(tasks), lambda _: None, cluster.nothing_follows)
        self.on_event(Step("reporting quality"))
        # A refused release stays in the store until someone publishes or deletes it.
        held = publishing.hold(self.store, presentation, submitted_at=self.submitted_at)
        report = concluding.conclude(self.check, held.presentation, self.plan.master, self.request.store.endpoint_url)
        concluding.refuse(report, self.store)
        return report

    def _record_tasks(self, tasks: Sequence[MeasureTask]) -> Sequence[MeasureTask]:
        self.measuring.update((task.id, task) for task in tasks)
        return tasks

    def _run(
        self, tasks: Sequence[cluster.Work], on_receipt: Callable[[Receipt], None], follow: cluster.Follow
    ) -> None:
        """Run encoding and measuring tasks."""
        plan = self.plan

        def note(event: cluster.Event) -> None:
            if isinstance(event, cluster.Done):
                if isinstance(event.receipt, Measurement):
                    self.check.known.add(event.receipt)
                    self.measured += 1
                    task = self.measuring[event.receipt.task]
                    self.on_event(Measured(self.measured, len(self.measuring), event.receipt.cpu_s, task.cost))
                    return
                on_receipt(event.receipt)
            if isinstance(event, cluster.Failed):
                failures.record(self.store, plan.title, event, self.on_event)
                if (failed := self.measuring.get(event.task)) is not None:
                    self.on_event(failures.notice_of(event, failed.label))
                    return
            if isinstance(event, cluster.TaskProgress) and event.task in self.measuring:
                return
            self.on_event(event)

        if tasks:
            keys = self.request.protection.keys if self.request.protection is not None else None
            context = context_of(
                plan,
                self.request.store,
                keys,
                logged=self.request.cluster.scheduler is not None,
                submission=self.submission,
            )
            self.run(tasks, partial(perform, context), self.request.cluster, note, tool=plan.tool, follow=follow)
