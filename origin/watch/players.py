"""The players that the watch page offers, pinned by version and digest."""

from dataclasses import dataclass

CDN = "https://cdn.jsdelivr.net/npm"
"""Public CDN that serves the files of npm packages."""


@dataclass(frozen=True, slots=True)
class Player:
    """A browser player: one script of an npm package.

    Attributes:
        name: Name in the page's scripts and in its query.
        label: Name shown on the page.
        package: npm package.
        version: Exact version.
        path: Path of the script in the package.
        integrity: Digest that browsers verify (W3C Subresource Integrity, section 3.5).
        manifests: Formats it plays: ``hls``, ``dash``.
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
        """File name of the downloaded script."""
        return f"{self.name}.min.js"

    @property
    def cdn_url(self) -> str:
        """Address of the script on the CDN, for installations that didn't download it."""
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
"""In the order shown on the page."""
