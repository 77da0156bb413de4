"""Announcing changes of jobs: into the outbox before a status is written, and to the receivers afterwards."""

from collections.abc import Callable, Iterable

from headend.app.jobs.delivering import Sender
from headend.app.jobs.model import Job, fold
from headend.app.jobs.notifying import Delivery, Notifier
from headend.app.jobs.queue import Entry, Queue
from headend.core.errors import ConfigError, HeadendError, StorageError


class Announcer:
    """Announces changes of jobs to webhooks and the hook command.

    Args:
        queue: The jobs.
        notifier: Sends events.
        log: Called with a log line and the id of the job that it is about, from any thread.
    """

    def __init__(self, queue: Queue, notifier: Notifier, log: Callable[[str, str], None]) -> None:
        self._queue = queue
        self._notifier = notifier
        self._log = log
        self._sender = Sender(notifier, lambda message, text: log(f"{message.title}: {text}", message.delivery.job))

    def announce(self, job: Job) -> list[Delivery]:
        """Put changes that have not been announced into the outbox; return what to deliver after the status."""
        unannounced = range(job.status.told, len(job.history))
        return [delivery for number in unannounced for delivery in self._notifier.announce(job, number)]

    def announce_waiting(self, entry: Entry) -> tuple[Job, list[Delivery]] | None:
        """Announce the changes of a job that does not run: it was queued, held, released or cancelled.

        Returns:
            The job and what to deliver after its status is written; None if there is nothing to announce.
        """
        try:
            request = self._queue.request(entry.id)
            if not self._notifier.receivers(request):
                return None
            job = fold(request, self._queue.status(entry.id), self._queue.commands(entry.id))
        except HeadendError as error:
            if error.retryable:
                raise
            return None  # the dispatcher reports it when the job is to start
        if job.state.active or not (deliveries := self.announce(job)):
            return None
        return job, deliveries

    def deliver(self, job: Job, deliveries: Iterable[Delivery]) -> None:
        """Deliver events in the background; each receiver gets the events of a job in order."""
        messages = []
        for delivery in deliveries:
            message = self._notifier.message(job, delivery)
            if message is None:
                self._notifier.remove(delivery)
            else:
                messages.append(message)
        if messages:
            self._sender.add(messages)
            self._sender.start()

    def deliver_leftovers(self) -> None:
        """Deliver what an earlier dispatcher has left in the outbox."""
        for delivery in self._notifier.outbox():
            try:
                job = self._queue.read(delivery.job)
            except ConfigError:
                self._notifier.remove(delivery)
                continue
            except StorageError as error:
                if error.retryable:
                    raise
                self._log(f"a notification can't be delivered: {error.message}", delivery.job)
                continue
            if delivery.number < job.status.told:
                self.deliver(job, [delivery])
            else:  # the change was announced, but its status was never written
                self._notifier.remove(delivery)

    def wait(self, seconds: float) -> None:
        """Wait until everything is delivered; what is not stays in the outbox."""
        self._sender.wait(seconds)
