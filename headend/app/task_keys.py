"""The content keys of a task; nothing is imported for a clear title."""

from collections.abc import Mapping

from headend.app.storing import Seals
from headend.app.task_context import TaskContext
from headend.core.errors import ConfigError, WorkerUnfit
from headend.core.keys import ContentKey
from headend.core.media import EncodeTask, KeyName
from headend.core.media.quality import MeasureTask
from packager import encrypted_tracks


def seals_of(context: TaskContext, task: EncodeTask) -> Seals:
    """Open the keys that encrypt a task's renditions.

    Raises:
        WorkerUnfit: A key is missing on this worker, or differs from the one that the job was planned with.
        StorageError: The key source can't be reached.
    """
    wanted = {id: context.encrypted[id] for id in task.renditions if id in context.encrypted}
    if not wanted:
        return {}
    from packager.protecting import protection_of

    keys = _opened(context, {name.kid: name for pairs in wanted.values() for _, used in pairs for name in used})
    return {
        id: tuple(
            (
                track,
                protection_of(
                    [keys[name.kid] for name in used],
                    kids=context.kids[used[0].scheme],
                    salt=encrypted_tracks.salt_of(track),
                    schedule=context.schedules[used[0].scheme],
                ),
            )
            for track, used in pairs
        )
        for id, pairs in wanted.items()
    }


def keys_of(context: TaskContext, task: MeasureTask) -> Mapping[str, ContentKey]:
    """Open the keys of the tracks that a task measures, by their ids.

    Raises:
        WorkerUnfit: A key is missing on this worker, or differs from the one that the job was planned with.
        StorageError: The key source can't be reached.
    """
    used = (subject.keys.names for subject in task.subjects if subject.keys is not None)
    return _opened(context, {name.kid: name for names in used for name in names})


def _opened(context: TaskContext, names: Mapping[str, KeyName]) -> Mapping[str, ContentKey]:
    if not names:
        return {}
    from headend.app import content_keys

    if context.keys is None:
        raise ConfigError("the task has encrypted tracks, but does not say where keys are: submit the master again")
    try:
        return content_keys.opened(context.keys, context.title, tuple(names.values()))
    except ConfigError as error:  # they could be opened where the job was submitted
        raise WorkerUnfit(f"a worker can't open the keys of {context.title!r}: {error.message}") from None
