"""A job's change of state as a CloudEvent, and its signature. Pure.

Source: CloudEvents 1.0, JSON format; the signature follows the Standard Webhooks specification.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

from headend.app.jobs.model import Job
from headend.core.errors import ConfigError

SOURCE = "urn:headend:jobs"
TYPE = "headend.job."
"""Prefix of event types; the state follows."""
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
SECRET_VARIABLE = "HEADEND_WEBHOOK_SECRET"
_SECRET_MARK = "whsec_"


def event(job: Job, number: int) -> Mapping[str, object]:
    """Describe a change of a job's state as a CloudEvent.

    Args:
        job: The job, with the change in its history.
        number: Index of the change in the job's history.
    """
    change = job.history[number]
    return {
        "specversion": "1.0",
        "id": f"{job.id}.{number}",
        "source": SOURCE,
        "type": f"{TYPE}{change.state}",
        "subject": job.id,
        "time": change.at,
        "datacontenttype": "application/json",
        "data": {
            "job": job.id,
            "title": job.title,
            "state": change.state.value,
            "why": change.why,
            "release": job.status.release,
            "labels": dict(job.request.labels),
            "submitted_by": job.request.submitted_by,
        },
    }


def body_of(event: Mapping[str, object]) -> bytes:
    """Serialize an event as it is sent and signed."""
    return json.dumps(event, separators=(",", ":"), sort_keys=True).encode()


def secret_of(text: str) -> bytes:
    """Read a signing secret: ``whsec_`` and base64, or any text of 24 characters or more.

    Raises:
        ConfigError: It is shorter, or the text after ``whsec_`` is not base64.
    """
    if text.startswith(_SECRET_MARK):
        try:
            key = base64.b64decode(text.removeprefix(_SECRET_MARK), validate=True)
        except ValueError:
            raise ConfigError(f"{SECRET_VARIABLE} is not base64 after {_SECRET_MARK!r}; make a new one") from None
    else:
        key = text.encode()
    if len(key) < 24:
        raise ConfigError(f"{SECRET_VARIABLE} is shorter than 24 bytes; make one with: openssl rand -base64 32")
    return key


def signed_headers(event_id: str, body: bytes, *, sent_s: int, secret: bytes | None) -> dict[str, str]:
    """Return the headers of a delivery.

    Args:
        event_id: The event's id: the same at every attempt, so that receivers can drop duplicates.
        body: The request body.
        sent_s: Unix time in seconds; it is signed too, against replay.
        secret: The secret shared with the receiver; None omits the signature.
    """
    headers = {"Content-Type": CONTENT_TYPE, "webhook-id": event_id, "webhook-timestamp": str(sent_s)}
    if secret is not None:
        signed = b".".join((event_id.encode(), str(sent_s).encode(), body))
        digest = hmac.new(secret, signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
