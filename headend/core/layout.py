"""Every object path in the store, spelled once.

calibration.json                                        ratio of measured to predicted costs
published/{title}                                       an empty mark of each title that has a current release
titles/{title}/current.json                             the pointer: written last
titles/{title}/tracks/{track}/init.mp4, {number}.m4s    immutable media: .vtt for files of WebVTT, .jpg for pictures
titles/{title}/tracks/{track}/init-{period}.mp4         init segment from period 2 on, where encryption keys change
titles/{title}/tracks/{track}/index                     what a complete track consists of (`headend.core.track_index`)
titles/{title}/tracks/{track}/sync                      where the sync frames of a picture's track lie
titles/{title}/receipts/{task}.json                     what one task has written; removed once it is in the indexes
titles/{title}/attempts/{task}-{n}.json                 what failed on the way
titles/{title}/attempts/{run}.begun.json                a run of a task that goes on, or was lost: removed when it ends
titles/{title}/releases/{release}/multivariant.m3u8     HLS
titles/{title}/releases/{release}/manifest.mpd          DASH
titles/{title}/releases/{release}/{track}.m3u8          media playlist of a track, image playlist of thumbnails
titles/{title}/releases/{release}/{track}.iframes.m3u8  I-frame playlist of a track
titles/{title}/releases/{release}/{track}.identity.m3u8 the same two for players that fetch keys by themselves
titles/{title}/releases/{release}/manifest-cenc.mpd     manifests of tracks in a second scheme
titles/{title}/releases/{release}/thumbnails.vtt        which thumbnail is shown when
titles/{title}/releases/{release}/poster.jpg            the picture that stands for the title
titles/{title}/releases/{release}/outline.json          what manifests of a part of the release are rendered from
titles/{title}/releases/{release}/release.json          what the release is, for people and tools
titles/{title}/releases/{release}/deleted.json          since when the release is deleted
titles/{title}/releases/{release}/held.json             since when the release waits to be published
titles/{title}/measurements/{task}.json                 what a task has measured; removed once it is in a report
titles/{title}/references/{id}.json                     how renditions are compared with their master
titles/{title}/reports/{release}/report.json            how a release looks; private, as all that follows
titles/{title}/reports/{release}/report.html            the same for people
titles/{title}/reports/{release}/{track}-{frame}.jpg    a picture of the report: master on the left, track on the right
titles/{title}/holds/{id}.json                          what running work needs, so that `gc` leaves it
titles/{title}/sweeps/{id}.json                         a `gc` that removes something of the title now
analysis/{master}/ladders/{digest}.json                 a ladder that was fitted to a master
analysis/{master}/surveys/{digest}.json                 how complex a chunk of a master is
analysis/{master}/trials/{digest}.json                  what a trial encode of an excerpt came to
"""

import hashlib
import re

from headend.core.errors import ConfigError

TITLES = "titles"
PUBLISHED = "published"
CALIBRATION = "calibration.json"
MULTIVARIANT = "multivariant.m3u8"
MPD = "manifest.mpd"
INIT = "init.mp4"
HLS_SUFFIX = ".m3u8"
DASH_SUFFIX = ".mpd"
IFRAMES_SUFFIX = ".iframes.m3u8"
IDENTITY = "identity"
RELEASE_DOCUMENT = "release.json"
OUTLINE = "outline.json"
SEGMENT_SUFFIX = ".m4s"
INDEX = "index"
SYNC = "sync"
POSTER = "poster"
POSTER_PICTURE = "poster.jpg"
THUMBNAILS = "thumbnails"
THUMBNAIL_INDEX = "thumbnails.vtt"
SHEET_SUFFIX = ".jpg"
TEXT_SUFFIX = ".vtt"

SEGMENT_FORMAT = 1
"""Version of what segments are cut and stamped to; part of every track's identity. Raise it when `packager.segmenting`
or `packager.captions` write other bytes than before for the same input."""

INIT_PATTERN = r"init(?:-(?:[2-9]|1[0-9]))?\.mp4"
"""Names of init segments, as a regular expression."""
_LATER_INIT = re.compile(r"init-([2-9]|1[0-9])\.mp4")
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


def published(title: str = "") -> str:
    """The mark of a title that has a current release; without a title, the folder of all marks."""
    return f"{PUBLISHED}/{title}"


def receipts(title: str) -> str:
    """The folder of all receipts."""
    return f"{title_path(title)}/receipts/"


def receipt(title: str, task: str) -> str:
    """What a task has written."""
    return f"{receipts(title)}{task}.json"


def attempts(title: str) -> str:
    """The folder of all records of failed attempts."""
    return f"{title_path(title)}/attempts/"


def attempt(title: str, task: str, number: int) -> str:
    """The record of a failed attempt; numbered from 1."""
    return f"{attempts(title)}{task}-{number}.json"


def begun(title: str, run: str) -> str:
    """The record of a run of a task that has begun; ``run`` is the task's id, the attempt and something random."""
    return f"{attempts(title)}{run}.begun.json"


def holds(title: str) -> str:
    """The folder of what running work needs."""
    return f"{title_path(title)}/holds/"


def hold(title: str, id: str) -> str:
    """What one run of something needs."""
    return f"{holds(title)}{id}.json"


def sweeps(title: str) -> str:
    """The folder of marks of running removals of a title's objects."""
    return f"{title_path(title)}/sweeps/"


def sweep(title: str, id: str) -> str:
    """The mark of a running removal."""
    return f"{sweeps(title)}{id}.json"


# --- quality ------------------------------------------------------------------------------------------------------


def measurements(title: str) -> str:
    """The folder of what tasks have measured."""
    return f"{title_path(title)}/measurements/"


def measurement(title: str, task: str) -> str:
    """What a task has measured."""
    return f"{measurements(title)}{task}.json"


def references(title: str) -> str:
    """The folder of what says how renditions are compared with their master."""
    return f"{title_path(title)}/references/"


def reference(title: str, id: str) -> str:
    """What says how some renditions are compared with their master."""
    return f"{references(title)}{id}.json"


def reports(title: str) -> str:
    """The folder of all reports on quality."""
    return f"{title_path(title)}/reports/"


def report_path(title: str, release: str) -> str:
    """The folder of the report on a release."""
    return f"{reports(title)}{release}"


def report(title: str, release: str) -> str:
    """The report on a release, for programs."""
    return f"{report_path(title, release)}/report.json"


def report_page(title: str, release: str) -> str:
    """The report on a release, for people."""
    return f"{report_path(title, release)}/report.html"


def report_picture(title: str, release: str, track: str, frame: int) -> str:
    """A frame of a track beside that of its master."""
    return f"{report_path(title, release)}/{track}-{frame}.jpg"


# --- releases -----------------------------------------------------------------------------------------------------


def releases(title: str) -> str:
    """The folder of all releases of a title; ends with a slash."""
    return f"{title_path(title)}/releases/"


def release_path(title: str, release: str) -> str:
    """The folder of a release."""
    return f"{releases(title)}{release}"


def release_document(title: str, release: str) -> str:
    """What a release is, for people and tools."""
    return f"{release_path(title, release)}/{RELEASE_DOCUMENT}"


def outline(title: str, release: str) -> str:
    """What manifests of a part of a release are rendered from."""
    return f"{release_path(title, release)}/{OUTLINE}"


def deleted(title: str, release: str) -> str:
    """Since when a release is deleted."""
    return f"{release_path(title, release)}/deleted.json"


def held(title: str, release: str) -> str:
    """The document that says since when a release waits to be published."""
    return f"{release_path(title, release)}/held.json"


def multivariant(title: str, release: str) -> str:
    """The top HLS manifest."""
    return f"{release_path(title, release)}/{MULTIVARIANT}"


def mpd(title: str, release: str) -> str:
    """The DASH manifest."""
    return f"{release_path(title, release)}/{MPD}"


def thumbnail_index(title: str, release: str) -> str:
    """The WebVTT index of the thumbnails."""
    return f"{release_path(title, release)}/{THUMBNAIL_INDEX}"


def poster(title: str, release: str) -> str:
    """The picture that stands for the title."""
    return f"{release_path(title, release)}/{POSTER_PICTURE}"


def media_playlist(title: str, release: str, track: str) -> str:
    """A track's HLS media playlist, or the image playlist of thumbnails."""
    return f"{release_path(title, release)}/{media_playlist_name(track)}"


def iframe_playlist(title: str, release: str, track: str) -> str:
    """A track's HLS I-frame playlist."""
    return f"{release_path(title, release)}/{iframe_playlist_name(track)}"


def media_playlist_name(track: str, *, identity: bool = False) -> str:
    """The name of a track's media playlist in the folder of a release; ``identity`` for the one that names its key."""
    return f"{track}{f'.{IDENTITY}' if identity else ''}{HLS_SUFFIX}"


def iframe_playlist_name(track: str, *, identity: bool = False) -> str:
    """The name of a track's I-frame playlist in the folder of a release, as above."""
    return f"{track}{f'.{IDENTITY}' if identity else ''}{IFRAMES_SUFFIX}"


def multivariant_name(form: str = "") -> str:
    """The name of a top HLS manifest: of the release's first tracks, of a second scheme's, or ``identity``."""
    return f"multivariant-{form}{HLS_SUFFIX}" if form else MULTIVARIANT


def mpd_name(form: str = "") -> str:
    """The name of a DASH manifest: of the release's first tracks, or of a second scheme's."""
    return f"manifest-{form}{DASH_SUFFIX}" if form else MPD


def key_uri(kid: str) -> str:
    """Where a key is, relative to the folder of any release of its title; whoever serves titles leads on from there."""
    return f"../../keys/{kid}"


def track_uri(track: str) -> str:
    """The folder of a track, relative to the folder of any release of its title."""
    return f"../../tracks/{track}"


def segment_name(track: str, number: int) -> str:
    """A media segment's name in its track's folder; those of WebVTT are files of text, thumbnails and posters JPEGs."""
    return f"{number}{segment_suffix(track)}"


def segment_suffix(track: str) -> str:
    """How the names of a track's segments end."""
    kind = track.partition("-")[0]
    return SHEET_SUFFIX if kind in (THUMBNAILS, POSTER) else TEXT_SUFFIX if kind == "vtt" else SEGMENT_SUFFIX


# --- tracks -------------------------------------------------------------------------------------------------------


def tracks(title: str) -> str:
    """The folder of all tracks of a title; ends with a slash."""
    return f"{TITLES}/{title}/tracks/"


def track_path(title: str, track: str) -> str:
    """The folder of a track."""
    return f"{tracks(title)}{track}"


def init_name(period: int = 1) -> str:
    """An init segment's name in its track's folder; where keys change, each period has one."""
    return f"init-{period}.mp4" if period > 1 else INIT


def init_period(name: str) -> int:
    """The period of an init segment by its name in its track's folder; 0 if it is none."""
    if name == INIT:
        return 1
    found = _LATER_INIT.fullmatch(name)
    return int(found[1]) if found else 0


def track_init(title: str, track: str, period: int = 1) -> str:
    """A track's init segment."""
    return f"{track_path(title, track)}/{init_name(period)}"


def track_segment(title: str, track: str, number: int) -> str:
    """A track's media segment; numbered from 1."""
    return f"{track_path(title, track)}/{segment_name(track, number)}"


def track_index(title: str, track: str) -> str:
    """What is known of a complete track: see `headend.core.track_index`."""
    return f"{track_path(title, track)}/{INDEX}"


def track_sync(title: str, track: str) -> str:
    """Where a track's sync frames lie; written before the index, video only."""
    return f"{track_path(title, track)}/{SYNC}"


# --- analysis ---------------------------------------------------------------------------------------------------


ANALYSIS = "analysis"
_PLAIN = re.compile(r"[a-z0-9]+:[A-Za-z0-9-]{1,80}")


def analysis(digest: str) -> str:
    """The folder of what was learned of a master, whatever titles are made of it; ends with a slash.

    Args:
        digest: The master's, such as ``sha256:…``.
    """
    name = digest.replace(":", "-") if _PLAIN.fullmatch(digest) else hashlib.sha256(digest.encode()).hexdigest()
    return f"{ANALYSIS}/{name}/"


def survey(master_digest: str, task: str) -> str:
    """How complex a chunk of a master is."""
    return f"{analysis(master_digest)}surveys/{task}.json"


def trial(master_digest: str, key: str) -> str:
    """What a trial encode of an excerpt of a master came to."""
    return f"{analysis(master_digest)}trials/{key}.json"


def fitted_ladder(master_digest: str, digest: str) -> str:
    """A ladder that was fitted to a master, by the digest of all that was asked for."""
    return f"{analysis(master_digest)}ladders/{digest}.json"


# --- jobs ---------------------------------------------------------------------------------------------------------


JOBS = "jobs"
JOB_DOCUMENTS = f"{JOBS}/documents/"
"""The folder of all jobs' documents."""
LEASES = f"{JOBS}/leases/"
"""The folder of the dispatchers' lease."""


def job_markers(*, ended: bool) -> str:
    """The folder of the markers of jobs that are open, or of those that have ended."""
    return f"{JOBS}/{'ended' if ended else 'open'}/"


JOB_NEWS = f"{JOBS}/news/"
"""The folder of what the dispatcher has not heard of yet: jobs that were added, and commands."""


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


JOB_OUTBOX = f"{JOBS}/outbox/"
"""The folder of events that are on their way to their receivers."""


def outbox(job: str, number: int, position: int) -> str:
    """An event on its way: change ``number`` of a job, to its receiver ``position``."""
    return f"{JOB_OUTBOX}{job}.{number:06}.{position}"


DEAD_LETTERS = f"{JOBS}/dead-letters/"
"""The folder of events that a receiver did not take."""


def dead_letter(job: str, number: int, position: int) -> str:
    """An event that was not delivered: change ``number`` of a job, to its receiver ``position``."""
    return f"{DEAD_LETTERS}{job}.{number:06}.{position}.json"


def ingested(digest: str) -> str:
    """What became of a file of a watched folder."""
    return f"{JOBS}/ingested/{digest}.json"
