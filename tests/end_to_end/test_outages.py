"""If the store becomes unreachable during a job, the job waits; it neither fails nor loses an attempt."""

import threading
from fractions import Fraction
from pathlib import Path

from encoder.cluster import Done, Failed, Notice
from headend.app import pipeline, verifying
from headend.app.request import Event, Request
from headend.core.media import Effort
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import LocalS3
from ladders import loading
from tests.end_to_end.test_s3 import upload
from tests.support.gate import gate_before
from tests.support.masters import make_film
from tests.support.s3_servers import BUCKET


def test_an_unreachable_store_delays_the_job(tmp_path: Path, rclone_s3: LocalS3) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=50, size=(160, 90), codec_args=("-g", "25"))
    master = upload(film, rclone_s3, "masters/outage.mp4")
    events: list[Event] = []
    with gate_before(rclone_s3.endpoint_url) as gate:
        store = StoreSettings(f"s3://{BUCKET}/outage", gate.url, patience_s=120)
        encode = EncodeSettings(segment_s=Fraction(1, 2), chunk_s=Fraction(1), effort=Effort.DRAFT, thumbnails=False)
        request = Request(master, "film", loading.load("smoke"), store, ClusterSettings(workers=1), encode)

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, Done) and gate.mood == "open" and not closed:
                closed.append(event)
                gate.become("refuse")
            if isinstance(event, Notice) and "waiting for the store" in event.text:
                threading.Timer(2, gate.become, ("open",)).start()

        closed: list[Event] = []
        outcome = pipeline.submit(request, note)

        assert closed
        assert not [event for event in events if isinstance(event, Failed)]
        assert any("waiting for the store" in event.text for event in events if isinstance(event, Notice))
        verdict = verifying.verify(open_store(store), "film")
    assert not verdict.findings
    assert outcome.encoded_tasks > 1
