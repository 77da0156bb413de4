"""A store with ten thousand generated titles, which are copies of one synthetic film.

It is in memory and generates its listings, so that ten thousand titles need no more memory than one. It counts requests
like S3: a listing counts once per thousand keys.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice
from pathlib import Path

from benchmarks.packaging import HollowStore, stored
from benchmarks.synthetic import inits_of
from headend.core import documents, layout
from headend.core.errors import ObjectMissing
from headend.core.media import EncodePlan
from headend.core.storage.base import ObjectInfo, Reader
from headend.core.storage.memory import MemoryStore
from packager import publishing
from packager.presentation import present
from packager.stock import merge_parts, remove_receipts, take

PAGE = 1000
"""Maximum number of keys in an S3 listing response."""
OLD = timedelta(days=30)
OLD_EVERY = 10
"""One title in this many has an earlier release."""


@dataclass(slots=True)
class ManyTitles:
    """A store with many identical generated titles, and one real title.

    Attributes:
        names: Names of the generated titles, ascending.
        objects: Objects of each generated title without media, by path in the title's folder.
        earlier: Additional objects of one title in ten, which only its earlier release needs, likewise.
        earlier_sizes: Sizes of the media of these, likewise.
        own: Store of the real title.
        requests: Number of S3 requests.
    """

    names: tuple[str, ...]
    objects: dict[str, bytes] = field(repr=False)
    earlier: dict[str, bytes] = field(repr=False)
    earlier_sizes: dict[str, int] = field(repr=False)
    own: HollowStore = field(default_factory=HollowStore, repr=False)
    requests: int = 0
    _known: frozenset[str] = field(init=False, repr=False)
    _old: frozenset[str] = field(init=False, repr=False)
    _sizes: dict[tuple[bool, str], Sequence[tuple[str, int]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._known, self._old, self._sizes = frozenset(self.names), frozenset(self.names[::OLD_EVERY]), {}

    @property
    def url(self) -> str:
        """Name of the store in errors."""
        return "many:"

    def put(self, key: str, data: bytes) -> None:
        """Write an object of the real title."""
        self.requests += 1
        self.own.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object of the real title if there is none."""
        self.requests += 1
        return self.own.put_if_absent(key, data)

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object of the real title if its ETag matches."""
        self.requests += 1
        return self.own.put_if_match(key, data, etag)

    def delete(self, key: str) -> None:
        """Delete an object of the real title."""
        self.requests += 1
        self.own.delete(key)

    def get(self, key: str) -> bytes:
        """Read an object of any title."""
        self.requests += 1
        title, path = _split(key)
        if title not in self._known:
            return self.own.get(key)
        if path in self.objects:
            return self.objects[path]
        if path in self.earlier and title in self._old:
            return self.earlier[path]
        raise ObjectMissing(f"no object {key}", key=key)

    def put_file(self, key: str, path: Path) -> None:
        """Write an object of the real title from a file."""
        self.put(key, path.read_bytes())

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        return self.get(key)[start : start + length]

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Open an object for reading."""
        return nullcontext(BytesIO(self.get(key)))

    def head(self, key: str) -> ObjectInfo:
        """Facts about an object."""
        title, _ = _split(key)
        if title not in self._known:
            self.requests += 1
            return self.own.head(key)
        return ObjectInfo(key, len(self.get(key)), _now() - OLD, "")

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """List objects, ordered by key."""
        self.requests += 1
        for number, info in enumerate(self._listed(prefix, after)):
            self.requests += number > 0 and number % PAGE == 0
            yield info

    def keys(self, prefix: str) -> Iterator[str]:
        """List keys below a prefix."""
        return (info.key for info in self.list(prefix))

    def page(self, prefix: str, *, after: str = "", limit: int = PAGE) -> tuple[ObjectInfo, ...]:
        """The first objects of a listing."""
        return tuple(islice(self.list(prefix, after=after), limit))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """List folders below a prefix."""
        if prefix == f"{layout.TITLES}/":
            self.requests += -(-len(self.names) // PAGE)
            return tuple(sorted({*self.names, *self.own.folders(prefix)}))
        self.requests += 1
        title, path = _split(prefix)
        if title not in self._known:
            return self.own.folders(prefix)
        below = (key[len(path) :] for key, _ in self._below(path, old=title in self._old))
        return tuple(sorted({key.partition("/")[0] for key in below if "/" in key}))

    def _listed(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        then = _now() - OLD
        if prefix.startswith(layout.published()):
            marks = (layout.published(name) for name in self.names)
            yield from (ObjectInfo(key, 0, then, "") for key in marks if key.startswith(prefix) and key > after)
            return
        title, path = _split(prefix)
        if title not in self._known:
            yield from self.own.list(prefix, after=after)
            return
        for key, size in self._below(path, old=title in self._old):
            whole = f"{layout.TITLES}/{title}/{key}"
            if whole > after:
                yield ObjectInfo(whole, size, then, "")

    def _below(self, path: str, *, old: bool) -> Sequence[tuple[str, int]]:
        """Paths and sizes of the objects below a path in a generated title's folder."""
        if (old, path) not in self._sizes:
            sizes = {key: len(data) for key, data in self.objects.items()}
            if old:
                sizes |= {key: len(data) for key, data in self.earlier.items()} | self.earlier_sizes
            self._sizes[old, path] = sorted((key, size) for key, size in sizes.items() if key.startswith(path))
        return self._sizes[old, path]


def titles_like(plan: EncodePlan, count: int) -> ManyTitles:
    """Titles of which one in ten also has an earlier release, with one rendition more than the current one."""
    base = stored(plan, inits_of(plan))
    dropped = plan.video[-1]
    stock = take(base, plan)
    whole = present(plan, merge_parts(base, stock, plan.tracks))
    first = publishing.publish(base, whole, submitted_at="2026-01-01T00:00:00+00:00").presentation.release
    remove_receipts(base, stock)
    publishing.publish(base, replace(whole, video=whole.video[:-1]), submitted_at="2026-01-02T00:00:00+00:00")
    folder = f"{layout.title_path(plan.title)}/"
    objects = {info.key.removeprefix(folder): base.get(info.key) for info in MemoryStore.list(base, folder)}
    # Backdate the pointer, so that the earlier release is old enough to be collected.
    then = (_now() - OLD).isoformat()
    pointer = publishing.read_current(objects["current.json"], "current.json")
    past = tuple(replace(one, published_at=then, until=then) for one in pointer.history)
    objects["current.json"] = documents.write(replace(pointer, published_at=then, history=past))
    track = layout.track_path(plan.title, plan.tracks[dropped.id])
    only_earlier = (f"releases/{first}/", f"{track.removeprefix(folder)}/")
    earlier = {key: data for key, data in objects.items() if key.startswith(only_earlier)}
    sizes = {key.removeprefix(folder): size for key, size in base.sizes[track].items()}
    common = {key: data for key, data in objects.items() if key not in earlier}
    return ManyTitles(tuple(f"title-{number:05}" for number in range(count)), common, earlier, sizes)


def first_titles(like: ManyTitles, count: int) -> ManyTitles:
    """The same store with the first ``count`` titles."""
    return ManyTitles(like.names[:count], like.objects, like.earlier, like.earlier_sizes)


def _split(key: str) -> tuple[str, str]:
    """The title of a key, and the path in its folder."""
    title, _, path = key.removeprefix(f"{layout.TITLES}/").partition("/")
    return title, path


def _now() -> datetime:
    return datetime.now(UTC)
