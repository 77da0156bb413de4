"""The paths of all objects in the store.

calibration.json                                        ratio of measured to predicted costs
published/{title}                                       an empty marker for each title that has a current release
titles/{title}/current.json                             the pointer to the current release; written last
titles/{title}/tracks/{track}/init.mp4, {number}.m4s    immutable media: .vtt for files of WebVTT, .jpg for pictures
titles/{title}/tracks/{track}/init-{period}.mp4         init segment from period 2 on, where encryption keys change
titles/{title}/tracks/{track}/index                     describes a complete track (`headend.core.track_index`)
titles/{title}/tracks/{track}/sync                      positions of the sync frames of a video track
titles/{title}/receipts/{task}.json                     what one task has written; removed once it is in the indexes
titles/{title}/attempts/{task}-{n}.json                 a failed attempt
titles/{title}/attempts/{run}.begun.json                a run of a task that is active or was lost; removed at its end
titles/{title}/releases/{release}/multivariant.m3u8     HLS
titles/{title}/releases/{release}/manifest.mpd          DASH
titles/{title}/releases/{release}/{track}.m3u8          media playlist of a track, image playlist of thumbnails
titles/{title}/releases/{release}/{track}.iframes.m3u8  I-frame playlist of a track
titles/{title}/releases/{release}/{track}.identity.m3u8 both playlists for players that fetch keys directly
titles/{title}/releases/{release}/manifest-cenc.mpd     manifests of tracks in a second scheme
titles/{title}/releases/{release}/thumbnails.vtt        times of the thumbnails
titles/{title}/releases/{release}/poster.jpg            the title's poster
titles/{title}/releases/{release}/outline.json          from which servers render manifests of selected tracks
titles/{title}/releases/{release}/release.json          description of the release
titles/{title}/releases/{release}/deleted.json          time at which the release was deleted
titles/{title}/releases/{release}/held.json             time from which the release has been waiting for approval
titles/{title}/measurements/{task}.json                 measurements of one task; removed once they are in a report
titles/{title}/references/{id}.json                     how to compare renditions with their master
titles/{title}/reports/{release}/report.json            quality of a release; private, like everything below
titles/{title}/reports/{release}/report.html            the same as a page
titles/{title}/reports/{release}/{track}-{frame}.jpg    a picture of the report: master on the left, track on the right
titles/{title}/holds/{id}.json                          what a running command needs, so that `gc` keeps it
titles/{title}/sweeps/{id}.json                         marks that `gc` is removing parts of the title
analysis/{master}/ladders/{digest}.json                 a ladder that was fitted to a master
analysis/{master}/surveys/{digest}.json                 complexity of a chunk of a master
analysis/{master}/trials/{digest}.json                  result of a trial encode of an excerpt
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
"""Version of the segment format; part of every track's id. Increment it if `packager.segmenting` or `packager.captions`
change so that they write different bytes for the same input."""

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
    """The pointer to the title's current release."""
    return f"{TITLES}/{title}/current.json"


def published(title: str = "") -> str:
    """The marker of a title that has a current release; without a title, the folder of all markers."""
    return f"{PUBLISHED}/{title}"


def receipts(title: str) -> str:
    """The folder of all receipts."""
    return f"{title_path(title)}/receipts/"


def receipt(title: str, task: str) -> str:
    """A task's receipt."""
    return f"{receipts(title)}{task}.json"


def attempts(title: str) -> str:
    """The folder of all records of failed attempts."""
    return f"{title_path(title)}/attempts/"


def attempt(title: str, task: str, number: int) -> str:
    """The record of a failed attempt; numbered from 1."""
    return f"{attempts(title)}{task}-{number}.json"


def begun(title: str, run: str) -> str:
    """The record of a run that has begun; ``run`` consists of task id, attempt and a random part."""
    return f"{attempts(title)}{run}.begun.json"


def holds(title: str) -> str:
    """The folder of a title's holds."""
    return f"{title_path(title)}/holds/"


def hold(title: str, id: str) -> str:
    """A hold."""
    return f"{holds(title)}{id}.json"


def sweeps(title: str) -> str:
    """The folder of a title's sweeps."""
    return f"{title_path(title)}/sweeps/"


def sweep(title: str, id: str) -> str:
    """The marker of a sweep."""
    return f"{sweeps(title)}{id}.json"


# --- quality ------------------------------------------------------------------------------------------------------


def measurements(title: str) -> str:
    """The folder of a title's measurements."""
    return f"{title_path(title)}/measurements/"


def measurement(title: str, task: str) -> str:
    """The measurements of a task."""
    return f"{measurements(title)}{task}.json"


def references(title: str) -> str:
    """The folder of documents on how to compare renditions with their master."""
    return f"{title_path(title)}/references/"


def reference(title: str, id: str) -> str:
    """A document on how to compare some renditions with their master."""
    return f"{references(title)}{id}.json"


def reports(title: str) -> str:
    """The folder of a title's quality reports."""
    return f"{title_path(title)}/reports/"


def report_path(title: str, release: str) -> str:
    """The folder of a release's quality report."""
    return f"{reports(title)}{release}"


def report(title: str, release: str) -> str:
    """A release's quality report as JSON."""
    return f"{report_path(title, release)}/report.json"


def report_page(title: str, release: str) -> str:
    """A release's quality report as HTML."""
    return f"{report_path(title, release)}/report.html"


def report_picture(title: str, release: str, track: str, frame: int) -> str:
    """A frame of a track next to the same frame of its master."""
    return f"{report_path(title, release)}/{track}-{frame}.jpg"


# --- releases -----------------------------------------------------------------------------------------------------


def releases(title: str) -> str:
    """The folder of all releases of a title; ends with a slash."""
    return f"{title_path(title)}/releases/"


def release_path(title: str, release: str) -> str:
    """The folder of a release."""
    return f"{releases(title)}{release}"


def release_document(title: str, release: str) -> str:
    """The description of a release."""
    return f"{release_path(title, release)}/{RELEASE_DOCUMENT}"


def outline(title: str, release: str) -> str:
    """The outline of a release, from which servers render manifests of selected tracks."""
    return f"{release_path(title, release)}/{OUTLINE}"


def deleted(title: str, release: str) -> str:
    """The marker of a deleted release."""
    return f"{release_path(title, release)}/deleted.json"


def held(title: str, release: str) -> str:
    """The marker of a release that waits for approval."""
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
    """The title's poster."""
    return f"{release_path(title, release)}/{POSTER_PICTURE}"


def media_playlist(title: str, release: str, track: str) -> str:
    """A track's HLS media playlist, or the image playlist of thumbnails."""
    return f"{release_path(title, release)}/{media_playlist_name(track)}"


def iframe_playlist(title: str, release: str, track: str) -> str:
    """A track's HLS I-frame playlist."""
    return f"{release_path(title, release)}/{iframe_playlist_name(track)}"


def media_playlist_name(track: str, *, identity: bool = False) -> str:
    """A media playlist's name in its release's folder; with ``identity``, of the playlist with key addresses."""
    return f"{track}{f'.{IDENTITY}' if identity else ''}{HLS_SUFFIX}"


def iframe_playlist_name(track: str, *, identity: bool = False) -> str:
    """An I-frame playlist's name in its release's folder; ``identity`` as for `media_playlist_name`."""
    return f"{track}{f'.{IDENTITY}' if identity else ''}{IFRAMES_SUFFIX}"


def multivariant_name(form: str = "") -> str:
    """The name of a top HLS manifest: ``form`` is empty for the first tracks, else another scheme, or ``identity``."""
    return f"multivariant-{form}{HLS_SUFFIX}" if form else MULTIVARIANT


def mpd_name(form: str = "") -> str:
    """The name of a DASH manifest: ``form`` is empty for the first tracks, else another scheme."""
    return f"manifest-{form}{DASH_SUFFIX}" if form else MPD


def key_uri(kid: str) -> str:
    """A key's address relative to any release's folder; the server of the title handles it."""
    return f"../../keys/{kid}"


def track_uri(track: str) -> str:
    """A track's folder, relative to any release's folder."""
    return f"../../tracks/{track}"


def segment_name(track: str, number: int) -> str:
    """A segment's name in its track's folder: MP4, WebVTT, or JPEG for thumbnails and posters."""
    return f"{number}{segment_suffix(track)}"


def segment_suffix(track: str) -> str:
    """The suffix of a track's segments."""
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
    """An init segment's name in its track's folder; if keys change, each period has its own."""
    return f"init-{period}.mp4" if period > 1 else INIT


def init_period(name: str) -> int:
    """The period of an init segment, from its name; 0 for other names."""
    if name == INIT:
        return 1
    match = _LATER_INIT.fullmatch(name)
    return int(match[1]) if match else 0


def track_init(title: str, track: str, period: int = 1) -> str:
    """A track's init segment."""
    return f"{track_path(title, track)}/{init_name(period)}"


def track_segment(title: str, track: str, number: int) -> str:
    """A track's media segment, numbered from 1."""
    return f"{track_path(title, track)}/{segment_name(track, number)}"


def track_index(title: str, track: str) -> str:
    """The index of a complete track; see `headend.core.track_index`."""
    return f"{track_path(title, track)}/{INDEX}"


def track_sync(title: str, track: str) -> str:
    """The positions of a video track's sync frames; written before the index."""
    return f"{track_path(title, track)}/{SYNC}"


# --- analysis ---------------------------------------------------------------------------------------------------


ANALYSIS = "analysis"
_PLAIN = re.compile(r"[a-z0-9]+:[A-Za-z0-9-]{1,80}")


def analysis(digest: str) -> str:
    """The folder of a master's analysis, shared by all titles made from it; ends with a slash.

    Args:
        digest: The master's digest, such as ``sha256:…``.
    """
    name = digest.replace(":", "-") if _PLAIN.fullmatch(digest) else hashlib.sha256(digest.encode()).hexdigest()
    return f"{ANALYSIS}/{name}/"


def survey(master_digest: str, task: str) -> str:
    """The complexity of a chunk of a master."""
    return f"{analysis(master_digest)}surveys/{task}.json"


def trial(master_digest: str, key: str) -> str:
    """The result of a trial encode of an excerpt of a master."""
    return f"{analysis(master_digest)}trials/{key}.json"


def fitted_ladder(master_digest: str, digest: str) -> str:
    """A ladder fitted to a master; ``digest`` is that of all its parameters."""
    return f"{analysis(master_digest)}ladders/{digest}.json"


# --- jobs ---------------------------------------------------------------------------------------------------------


JOBS = "jobs"
JOB_DOCUMENTS = f"{JOBS}/documents/"
"""The folder of all jobs' documents."""
LEASES = f"{JOBS}/leases/"
"""The folder of the dispatchers' lease."""


def job_markers(*, ended: bool) -> str:
    """The folder of markers of open jobs, or of ended ones."""
    return f"{JOBS}/{'ended' if ended else 'open'}/"


JOB_NEWS = f"{JOBS}/news/"
"""The folder of changes that the dispatcher has not processed yet: new jobs, and commands."""


def job_path(job: str) -> str:
    """The folder of a job's documents."""
    return f"{JOB_DOCUMENTS}{job}"


def job_request(job: str) -> str:
    """A job's request."""
    return f"{job_path(job)}/request.json"


def job_status(job: str) -> str:
    """A job's status, written by the dispatcher."""
    return f"{job_path(job)}/status.json"


def job_commands(job: str) -> str:
    """The folder of operators' commands for a job."""
    return f"{job_path(job)}/commands/"


def job_command(job: str, command: str) -> str:
    """An operator's command for a job."""
    return f"{job_commands(job)}{command}.json"


def lease(fence: int) -> str:
    """The dispatchers' lease with a fencing number."""
    return f"{LEASES}{fence:09}.json"


JOB_OUTBOX = f"{JOBS}/outbox/"
"""The folder of events that are still to be delivered."""


def outbox(job: str, number: int, position: int) -> str:
    """An event to deliver: change ``number`` of a job, to receiver ``position``."""
    return f"{JOB_OUTBOX}{job}.{number:06}.{position}"


DEAD_LETTERS = f"{JOBS}/dead-letters/"
"""The folder of events that a receiver did not accept."""


def dead_letter(job: str, number: int, position: int) -> str:
    """An event that could not be delivered: change ``number`` of a job, to receiver ``position``."""
    return f"{DEAD_LETTERS}{job}.{number:06}.{position}.json"


def ingested(digest: str) -> str:
    """The result for a file of a watched folder."""
    return f"{JOBS}/ingested/{digest}.json"
