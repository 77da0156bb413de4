"""Runs tasks in this process, one after the other, for tests that are not about clusters."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from encoder import cluster
from headend.core.media import EncodeTask
from headend.core.settings import ClusterSettings


def run_tasks(
    tasks: Sequence[EncodeTask],
    perform: cluster.Perform,
    _settings: ClusterSettings,
    on_event: Callable[[cluster.Event], None],
    **_others: Any,
) -> None:
    """Stand in for `encoder.cluster.run_tasks`; give it to `headend.app.pipeline.submit` as ``run``."""
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            run = cluster.TaskRun(task, 1, "here", Path(folder), lambda: False, lambda _: None, lambda: None)
            on_event(cluster.Done(perform(run)))
