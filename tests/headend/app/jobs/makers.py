"""Makers of jobs."""

from headend.app.jobs.model import Command, JobRequest, Verb
from headend.app.request import Request
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from ladders import loading

AT = "2026-11-28T20:00:00.000+00:00"


def make_request(title: str = "film", master: str = "/masters/film.mov") -> Request:
    """Return a request for a small ladder."""
    return Request(master, title, loading.load("smoke"), StoreSettings("/store"), ClusterSettings(), EncodeSettings())


def make_job_request(job: str = "20261128t200000000-00000a", *, priority: int = 50) -> JobRequest:
    """Return a request that was queued."""
    return JobRequest(job, make_request(), AT, "ann@desk", priority)


def make_command(number: int, verb: Verb, priority: int | None = None) -> Command:
    """Return a command; commands with higher numbers are later."""
    return Command(f"20261128t2001{number:02}000-000000", verb, "bob@desk", AT, priority)
