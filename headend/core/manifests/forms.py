"""The top manifests of a release: HLS multivariant playlists and DASH MPDs.

An unencrypted release has one of each. An encrypted release also has an HLS playlist for players that fetch keys
directly (``identity``), and further top manifests for each copy of its tracks in another scheme.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headend.core import layout
from headend.core.manifests import dash, hls
from headend.core.manifests.outline import ReleaseOutline
from headend.core.media import Scheme


@dataclass(frozen=True, slots=True)
class TopManifest:
    """A top manifest, ready to be rendered.

    Attributes:
        name: Its name in the release's folder.
        outline: The release with the manifest's tracks.
        identity: Whether its playlists state the addresses of keys instead of DRM systems.
    """

    name: str
    outline: ReleaseOutline
    identity: bool = False

    @property
    def is_dash(self) -> bool:
        """Whether it is an MPD."""
        return self.name.endswith(layout.DASH_SUFFIX)

    def render(self, base: str = "", steering: str = "") -> bytes:
        """Render the manifest.

        Args:
            base: MPD: base of relative addresses, relative to the MPD's address; empty for its own folder.
            steering: Address of the title's steering manifest; empty for none.
        """
        if self.is_dash:
            return dash.mpd(self.outline, base, steering)
        return hls.multivariant(self.outline, identity=self.identity, steering=steering).encode()


def top_manifests(outline: ReleaseOutline) -> Iterator[TopManifest]:
    """All top manifests of a release; for ``aes-128`` there is no DASH, which does not support it."""
    yield from _pair(outline, "")
    if outline.protection is not None and outline.protection.scheme is not Scheme.AES_128:
        yield TopManifest(layout.multivariant_name(layout.IDENTITY), outline, identity=True)
    for copy in outline.copies:
        tracks = replace(
            outline, protection=copy.protection, video=copy.video, audio=copy.audio, trick=copy.trick, copies=()
        )
        yield from _pair(tracks, copy.protection.scheme)


def top_manifest(outline: ReleaseOutline, name: str) -> TopManifest | None:
    """The top manifest with a name; None if the release has none."""
    return next((top for top in top_manifests(outline) if top.name == name), None)


def _pair(outline: ReleaseOutline, form: str) -> Iterator[TopManifest]:
    yield TopManifest(layout.multivariant_name(form), outline)
    if outline.protection is None or outline.protection.scheme is not Scheme.AES_128:
        yield TopManifest(layout.mpd_name(form), outline)
