"""Which players a page offers, pinned to the byte."""

from dataclasses import dataclass

CDN = "https://cdn.jsdelivr.net/npm"
"""Serves the files of npm packages as they are."""


@dataclass(frozen=True, slots=True)
class Player:
    """A player for browsers: one script of an npm package.

    Attributes:
        name: What the page's script calls it.
        label: What it is called on the page.
        package: Its npm package.
        version: Exact.
        path: The script in the package.
        integrity: Digest of the script, as browsers check it (W3C Subresource Integrity, section 3.5).
        manifests: What it plays: ``hls``, ``dash``.
    """

    name: str
    label: str
    package: str
    version: str
    path: str
    integrity: str
    manifests: tuple[str, ...]

    @property
    def file(self) -> str:
        """The script's name among the page's own files."""
        return f"{self.name}.min.js"

    @property
    def cdn_url(self) -> str:
        """Where the script is for those who have not fetched it."""
        return f"{CDN}/{self.package}@{self.version}/{self.path}"


PLAYERS = (
    Player(
        "hls",
        "hls.js",
        "hls.js",
        "1.7.4",
        "dist/hls.min.js",
        "sha384-p9vgU/7IYJWd3I4STrtqxqR/2cAQlhIX7D/HrTnIMEjjcUox165b7se7sxmm3zDg",
        ("hls",),
    ),
    Player(
        "dash",
        "dash.js",
        "dashjs",
        "5.2.1",
        "dist/modern/umd/dash.all.min.js",
        "sha384-NwbBGevMmVf2Lv50ZqQWLZ0dLH69dxVHYeS+8t54klP9odovQ2+Ms0J4SWfKzPkr",
        ("dash",),
    ),
    Player(
        "shaka",
        "Shaka Player",
        "shaka-player",
        "5.2.12",
        "dist/shaka-player.compiled.js",
        "sha384-dC+HTy8lAr0Y9PZngIX8OfKQQ3JnR04Xs2ut3jQ1jxUXT1TZ23BTbPbTjM2cj4H0",
        ("hls", "dash"),
    ),
)
"""In the order of the page."""
