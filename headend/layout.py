"""Every object path in the store, spelled once.

calibration.json                                by how much costs were misjudged
titles/{title}/current.json                     the pointer: written last
titles/{title}/{release}/plan.json              what was decided
titles/{title}/{release}/receipts/{task}.json   what has been done
titles/{title}/{release}/attempts/{task}-{n}.json   what failed on the way
titles/{title}/{release}/multivariant.m3u8      HLS
titles/{title}/{release}/manifest.mpd           DASH
titles/{title}/{release}/release.json           the presentation, as a document
titles/{title}/{release}/{rendition}/…          init.mp4, {number}.m4s or {number}.vtt, media.m3u8, iframes.m3u8
titles/{title}/{release}/thumbnails.vtt         which thumbnail is shown when
titles/{title}/{release}/thumbnails/…           {number}.jpg, images.m3u8
"""

import re

from headend.errors import ConfigError

TITLES = "titles"
CALIBRATION = "calibration.json"
MULTIVARIANT = "multivariant.m3u8"
MPD = "manifest.mpd"
INIT = "init.mp4"
MEDIA_PLAYLIST = "media.m3u8"
IFRAME_PLAYLIST = "iframes.m3u8"
SEGMENT_SUFFIX = ".m4s"
INDEX = "index"
SYNC = "sync"
POSTER = "poster"
THUMBNAILS = "thumbnails"
THUMBNAIL_INDEX = "thumbnails.vtt"
IMAGE_PLAYLIST = "images.m3u8"
SHEET_SUFFIX = ".jpg"
TEXT_SUFFIX = ".vtt"

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def check_title(title: str) -> str:
    """Return ``title`` if it is a legal slug.

    Raises:
        ConfigError: It is not 1 to 64 of ``a-z 0-9 -``, or starts or ends with a dash.
    """
    if not _SLUG.fullmatch(title):
        raise ConfigError(f"{title!r} is not a title's name: use 1 to 64 of a-z, 0-9 and '-', such as 'big-buck-bunny'")
    return title


def title_path(title: str) -> str:
    """The folder of a title."""
    return f"{TITLES}/{title}"


def current(title: str) -> str:
    """The pointer at the current release."""
    return f"{TITLES}/{title}/current.json"


def release_path(title: str, release: str) -> str:
    """The folder of a release."""
    return f"{TITLES}/{title}/{release}"


def plan(title: str, release: str) -> str:
    """What was decided for a release."""
    return f"{release_path(title, release)}/plan.json"


def release_document(title: str, release: str) -> str:
    """The presentation, as a document."""
    return f"{release_path(title, release)}/release.json"


def receipts(title: str, release: str) -> str:
    """The folder of all receipts."""
    return f"{release_path(title, release)}/receipts/"


def receipt(title: str, release: str, task: str) -> str:
    """The proof that a task is done."""
    return f"{receipts(title, release)}{task}.json"


def attempts(title: str, release: str) -> str:
    """The folder of all records of failed attempts."""
    return f"{release_path(title, release)}/attempts/"


def attempt(title: str, release: str, task: str, number: int) -> str:
    """The record of a failed attempt; numbered from 1."""
    return f"{attempts(title, release)}{task}-{number}.json"


def multivariant(title: str, release: str) -> str:
    """The top HLS manifest."""
    return f"{release_path(title, release)}/{MULTIVARIANT}"


def mpd(title: str, release: str) -> str:
    """The DASH manifest."""
    return f"{release_path(title, release)}/{MPD}"


def rendition_path(title: str, release: str, rendition: str) -> str:
    """The folder of a rendition."""
    return f"{release_path(title, release)}/{rendition}"


def init(title: str, release: str, rendition: str) -> str:
    """A rendition's init segment."""
    return f"{rendition_path(title, release, rendition)}/{INIT}"


def segment(title: str, release: str, rendition: str, number: int) -> str:
    """A media segment; numbered from 1."""
    return f"{rendition_path(title, release, rendition)}/{segment_name(rendition, number)}"


def segment_name(rendition: str, number: int) -> str:
    """A media segment's name in its rendition's folder; those of WebVTT are files of text, of thumbnails sheets."""
    if rendition.partition("-")[0] in (THUMBNAILS, POSTER):
        return f"{number}{SHEET_SUFFIX}"
    return f"{number}{TEXT_SUFFIX if rendition.startswith('vtt-') else SEGMENT_SUFFIX}"


def media_playlist(title: str, release: str, rendition: str) -> str:
    """A rendition's HLS media playlist."""
    return f"{rendition_path(title, release, rendition)}/{MEDIA_PLAYLIST}"


def iframe_playlist(title: str, release: str, rendition: str) -> str:
    """A rendition's HLS I-frame playlist."""
    return f"{rendition_path(title, release, rendition)}/{IFRAME_PLAYLIST}"


def sheet(title: str, release: str, number: int) -> str:
    """A sheet of thumbnails; numbered from 1."""
    return segment(title, release, THUMBNAILS, number)


def image_playlist(title: str, release: str) -> str:
    """The HLS media playlist of the sheets."""
    return f"{rendition_path(title, release, THUMBNAILS)}/{IMAGE_PLAYLIST}"


def thumbnail_index(title: str, release: str) -> str:
    """The WebVTT index of the thumbnails."""
    return f"{release_path(title, release)}/{THUMBNAIL_INDEX}"


# --- tracks -------------------------------------------------------------------------------------------------------


def tracks(title: str) -> str:
    """The folder of all tracks of a title; ends with a slash."""
    return f"{TITLES}/{title}/tracks/"


def track_path(title: str, track: str) -> str:
    """The folder of a track."""
    return f"{tracks(title)}{track}"


def track_init(title: str, track: str) -> str:
    """A track's init segment."""
    return f"{track_path(title, track)}/{INIT}"


def track_segment(title: str, track: str, number: int) -> str:
    """A track's media segment; numbered from 1."""
    return f"{track_path(title, track)}/{segment_name(track, number)}"


def track_index(title: str, track: str) -> str:
    """What is known of a complete track: see `headend.track_index`."""
    return f"{track_path(title, track)}/{INDEX}"


def track_sync(title: str, track: str) -> str:
    """Where a track's sync frames lie; written before the index, video only."""
    return f"{track_path(title, track)}/{SYNC}"


# --- jobs ---------------------------------------------------------------------------------------------------------


JOBS = "jobs"
JOB_DOCUMENTS = f"{JOBS}/documents/"
"""The folder of all jobs' documents."""
LEASES = f"{JOBS}/leases/"
"""The folder of the dispatchers' lease."""


def job_markers(*, ended: bool) -> str:
    """The folder of the markers of jobs that are open, or of those that have ended."""
    return f"{JOBS}/{'ended' if ended else 'open'}/"


def job_path(job: str) -> str:
    """The folder of a job's documents."""
    return f"{JOB_DOCUMENTS}{job}"


def job_request(job: str) -> str:
    """What was asked for."""
    return f"{job_path(job)}/request.json"


def job_status(job: str) -> str:
    """What the dispatcher says of a job."""
    return f"{job_path(job)}/status.json"


def job_commands(job: str) -> str:
    """The folder of what operators asked of a job."""
    return f"{job_path(job)}/commands/"


def job_command(job: str, command: str) -> str:
    """What an operator asked of a job."""
    return f"{job_commands(job)}{command}.json"


def lease(fence: int) -> str:
    """The dispatchers' lease under a fencing number."""
    return f"{LEASES}{fence:09}.json"
