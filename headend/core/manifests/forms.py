"""The top manifests of a release: those of its first tracks, and those for players that need another form.

A clear title has one of HLS and one of DASH. A protected one has a second of HLS in which players fetch keys by
themselves (``identity``), and further ones for each copy of its tracks in another scheme.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headend.core import layout
from headend.core.manifests import dash, hls
from headend.core.manifests.outline import ReleaseOutline
from headend.core.media import Scheme


@dataclass(frozen=True, slots=True)
class TopManifest:
    """What a top manifest is rendered from.

    Attributes:
        name: Its name in the folder of the release.
        outline: The release with the tracks that it names.
        identity: Whether its playlists name keys by their addresses instead of DRM systems.
    """

    name: str
    outline: ReleaseOutline
    identity: bool = False

    @property
    def is_dash(self) -> bool:
        """Whether it is an MPD."""
        return self.name.endswith(layout.DASH_SUFFIX)

    def render(self, base: str = "", steering: str = "") -> bytes:
        """Write it.

        Args:
            base: MPD: where relative addresses start, relative to its own address; empty for where it is.
            steering: Address of the steering server's answer for the title; empty for none.
        """
        if self.is_dash:
            return dash.mpd(self.outline, base, steering)
        return hls.multivariant(self.outline, identity=self.identity, steering=steering).encode()


def top_manifests(outline: ReleaseOutline) -> Iterator[TopManifest]:
    """All top manifests of a release; DASH has none for whole encrypted segments, which it does not know."""
    yield from _pair(outline, "")
    if outline.protection is not None and outline.protection.scheme is not Scheme.AES_128:
        yield TopManifest(layout.multivariant_name(layout.IDENTITY), outline, identity=True)
    for copy in outline.copies:
        tracks = replace(
            outline, protection=copy.protection, video=copy.video, audio=copy.audio, trick=copy.trick, copies=()
        )
        yield from _pair(tracks, copy.protection.scheme)


def top_manifest(outline: ReleaseOutline, name: str) -> TopManifest | None:
    """The top manifest of a name; None if the release has none of it."""
    return next((top for top in top_manifests(outline) if top.name == name), None)


def _pair(outline: ReleaseOutline, form: str) -> Iterator[TopManifest]:
    yield TopManifest(layout.multivariant_name(form), outline)
    if outline.protection is None or outline.protection.scheme is not Scheme.AES_128:
        yield TopManifest(layout.mpd_name(form), outline)
