"""The part of a submit that runs tasks: encoding, measuring, and placing releases as soon as they may be placed."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from encoder import cluster
from headend.app.deciding import scan_for_damage
from headend.app.performing import order_of, perform
from headend.app.quality import checking
from headend.app.request import Event, Measured, PublishedEarly, Request, Step
from headend.core import records
from headend.core.errors import DamagedMaster, StorageError
from headend.core.media import EncodePlan, Presentation, Receipt
from headend.core.media.quality import Checking, Measurement, MeasureTask, QualityReport
from headend.core.storage import Store
from packager import publishing
from packager.presentation import present
from packager.stock import Stock, fold


@dataclass(slots=True)
class TitleJob:
    """The part of a submit that encodes, measures and publishes.

    Attributes:
        request: What was asked for.
        store: Where it goes.
        submitted_at: When it was asked for.
        plan: The plan with its tasks.
        first: What is published before the rest; None for nothing.
        stock: What the store has of it.
        on_event: Gets what happens.
        run: Runs the tasks.
        check: What is measured.
        measuring: Tasks of measuring that were begun, by id.
        measured: How many of them are done.
        submission: Tells the receipts of this run from those of earlier ones.
    """

    request: Request
    store: Store
    submitted_at: str
    plan: EncodePlan
    first: EncodePlan | None
    stock: Stock
    on_event: Callable[[Event], None]
    run: cluster.RunTasks
    check: checking.Check
    measuring: dict[str, MeasureTask] = field(default_factory=dict)
    measured: int = 0
    submission: str = field(default_factory=lambda: secrets.token_hex(8))

    def publish(self, plan: EncodePlan) -> publishing.Placed:
        """Make a release of a plan whose parts are all there."""
        return self.place(present(plan, fold(self.store, self.stock, plan.tracks)))

    def place(self, presentation: Presentation) -> publishing.Placed:
        """Make a release, and make it current unless a person is to do that."""
        if self.request.hold:
            return publishing.hold(self.store, presentation, submitted_at=self.submitted_at)
        return publishing.publish(self.store, presentation, submitted_at=self.submitted_at)

    def encode(self) -> list[Receipt]:
        """Run the tasks on the cluster, with failed attempts on record; publish what comes first when it is there.

        What is to be measured in any case follows as soon as its chunk is there.
        """
        receipts: list[Receipt] = []
        plan, request = self.plan, self.request
        before = set(self.stock.missing(self.first.tracks)) if self.first else set()
        names = {track: name for name, track in plan.tracks.items()}
        gated = self.check.level is not Checking.OFF

        def publish_first() -> None:
            # Once all is there, the whole follows at once.
            if self.first and not before and len(receipts) < len(plan.tasks):
                if gated:
                    self.on_event(cluster.Notice("the first release is published before its quality is measured"))
                self.on_event(PublishedEarly(self.publish(self.first).presentation))

        def done(receipt: Receipt) -> None:
            receipts.append(receipt)
            self.stock.add(receipt)
            if before:
                # A rendition may be several tracks, each in a scheme of its own.
                made = (names[track.track] for track in receipt.tracks if track.track in names)
                before.difference_update((name, receipt.chunk) for name in made)
                publish_first()

        if not before:
            publish_first()
        waits = checking.waiting(
            self.check.first_tasks(),
            plan.chunks,
            self.stock.missing(rendition.id for rendition in plan.video),
            (rendition.id for rendition in plan.video),
        )
        try:
            self._run((*plan.tasks, *self._begun(waits.ready())), done, lambda made: self._begun(waits.follow(made)))
        except DamagedMaster:
            if plan.allow_damaged:
                raise
            scan_for_damage(plan, request.store, self.on_event)
            raise
        return receipts

    def judge(self, presentation: Presentation) -> QualityReport | None:
        """Measure what is left, write the report, and hold the release against the rules.

        Raises:
            QualityRefused: It fails one; the release is complete and not current.
        """
        if self.check.level is Checking.OFF:
            return None
        if tasks := self.check.suspect_tasks(presentation):
            self.on_event(Step("measuring quality"))
            self._run(self._begun(tasks), lambda _: None, cluster.nothing_follows)
        self.on_event(Step("reporting quality"))
        # Whatever comes of it, the release is complete and stays until a person publishes or deletes it.
        placed = publishing.hold(self.store, presentation, submitted_at=self.submitted_at)
        report, _ = checking.conclude(
            self.check, placed.presentation, self.plan.master, self.request.store.endpoint_url
        )
        checking.refuse(report, self.store)
        return report

    def _begun(self, tasks: Sequence[MeasureTask]) -> Sequence[MeasureTask]:
        self.measuring.update((task.id, task) for task in tasks)
        return tasks

    def _run(
        self, tasks: Sequence[cluster.Work], on_receipt: Callable[[Receipt], None], follow: cluster.Follow
    ) -> None:
        """Run tasks of encoding and of measuring."""
        store, plan = self.store, self.plan

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
                try:
                    records.write_attempt(store, plan.title, records.attempt_of(event.task, event.attempt, event.error))
                except StorageError as error:  # a job must not end of it
                    self.on_event(cluster.Notice(f"a failed attempt is not on record: {error.message}"))
                if (failed := self.measuring.get(event.task)) is not None:
                    again = "no further attempt" if event.last else "trying again"
                    self.on_event(
                        cluster.Notice(
                            f"attempt {event.attempt} at {failed.label} failed, {again}: {event.error.message}"
                        )
                    )
                    return
            if isinstance(event, cluster.Advance) and event.task in self.measuring:
                return
            self.on_event(event)

        if tasks:
            keys = self.request.protection.keys if self.request.protection is not None else None
            order = order_of(
                plan,
                self.request.store,
                keys,
                logged=self.request.cluster.scheduler is not None,
                submission=self.submission,
            )
            self.run(tasks, partial(perform, order), self.request.cluster, note, tool=plan.tool, follow=follow)
