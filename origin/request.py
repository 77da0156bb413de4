"""What a client asks for, as far as handlers need it."""

from dataclasses import dataclass

from origin.freshness import Headers


@dataclass(slots=True)
class Request:
    """A request without a body.

    Attributes:
        method: As it was sent.
        target: Path and query, undecoded.
        headers: All of them.
        client: The address that the connection comes from; empty if there is none.
        server: The address and port that it came to.
        max_height_px: The plan's limit for pictures; None for none.
    """

    method: str
    target: str
    headers: Headers
    client: str
    server: tuple[str, int]
    max_height_px: int | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target's query, without the question mark."""
        return self.target.partition("?")[2]
