"""A store with any number of generated titles, which are copies of one synthetic film.

The objects of one title are in memory, and listings are generated, so that ten thousand titles need no more memory than
one. The store counts requests as S3 does: a listing counts once per thousand keys.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice
from pathlib import Path

from benchmarks.packaging import SizesOnlyStore, store_with_parts
from benchmarks.synthetic import inits_of
from headend.core import documents, layout
from headend.core.errors import ObjectMissing
from headend.core.media import EncodePlan
from headend.core.storage.base import ObjectInfo, Reader
from headend.core.storage.memory import MemoryStore
from headend.core.timing import ceil_div
from packager import publishing, reading
from packager.presentation import assemble
from packager.stored_parts import find_stored_parts, merge_parts, remove_receipts

PAGE = 1000
"""Maximum number of keys in an S3 listing response."""
AGE = timedelta(days=30)
"""Age of all objects of generated titles."""
EARLIER_EVERY = 10
"""One title in this many has an earlier release."""


@dataclass(slots=True)
class ManyTitles:
    """A store with many identical generated titles, and one real title.

    Attributes:
        names: Names of the generated titles, ascending.
        objects: Objects of every generated title except media, by path in the title's folder.
        earlier: Objects that only earlier releases need, except media, by path in the title's folder.
        earlier_sizes: Sizes of the media that only earlier releases need, by path in the title's folder.
        own: Store of the real title.
        requests: Number of S3 requests so far.
    """

    names: tuple[str, ...]
    objects: dict[str, bytes] = field(repr=False)
    earlier: dict[str, bytes] = field(repr=False)
    earlier_sizes: dict[str, int] = field(repr=False)
    own: SizesOnlyStore = field(default_factory=SizesOnlyStore, repr=False)
    requests: int = 0
    _known: frozenset[str] = field(init=False, repr=False)
    _with_earlier: frozenset[str] = field(init=False, repr=False)
    _sizes: dict[tuple[bool, str], Sequence[tuple[str, int]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._known, self._with_earlier, self._sizes = frozenset(self.names), frozenset(self.names[::EARLIER_EVERY]), {}

    @property
    def url(self) -> str:
        """The store's address, for error messages."""
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
        if path in self.earlier and title in self._with_earlier:
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
        """Return the size and age of an object."""
        title, _ = _split(key)
        if title not in self._known:
            self.requests += 1
            return self.own.head(key)
        return ObjectInfo(key, len(self.get(key)), _now() - AGE, "")

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
        """Return the first objects of a listing."""
        return tuple(islice(self.list(prefix, after=after), limit))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """List folders below a prefix."""
        if prefix == f"{layout.TITLES}/":
            self.requests += ceil_div(len(self.names), PAGE)
            return tuple(sorted({*self.names, *self.own.folders(prefix)}))
        self.requests += 1
        title, path = _split(prefix)
        if title not in self._known:
            return self.own.folders(prefix)
        below = (key[len(path) :] for key, _ in self._below(path, has_earlier=title in self._with_earlier))
        return tuple(sorted({key.partition("/")[0] for key in below if "/" in key}))

    def _listed(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        then = _now() - AGE
        if prefix.startswith(layout.published()):
            markers = (layout.published(name) for name in self.names)
            yield from (ObjectInfo(key, 0, then, "") for key in markers if key.startswith(prefix) and key > after)
            return
        title, path = _split(prefix)
        if title not in self._known:
            yield from self.own.list(prefix, after=after)
            return
        for key, size in self._below(path, has_earlier=title in self._with_earlier):
            full_key = f"{layout.TITLES}/{title}/{key}"
            if full_key > after:
                yield ObjectInfo(full_key, size, then, "")

    def _below(self, path: str, *, has_earlier: bool) -> Sequence[tuple[str, int]]:
        """Return paths and sizes of the objects below a path in a generated title's folder."""
        if (has_earlier, path) not in self._sizes:
            sizes = {key: len(data) for key, data in self.objects.items()}
            if has_earlier:
                sizes |= {key: len(data) for key, data in self.earlier.items()} | self.earlier_sizes
            self._sizes[has_earlier, path] = sorted((key, size) for key, size in sizes.items() if key.startswith(path))
        return self._sizes[has_earlier, path]


def make_titles(plan: EncodePlan, count: int) -> ManyTitles:
    """Make a store of titles; one in ten also has an earlier release, which has one rendition more than the current."""
    base = store_with_parts(plan, inits_of(plan))
    dropped = plan.video[-1]
    stored = find_stored_parts(base, plan)
    whole = assemble(plan, merge_parts(base, stored, plan.tracks))
    first = publishing.publish(base, whole, submitted_at="2026-01-01T00:00:00+00:00").presentation.release
    remove_receipts(base, stored)
    publishing.publish(base, replace(whole, video=whole.video[:-1]), submitted_at="2026-01-02T00:00:00+00:00")
    folder = f"{layout.title_path(plan.title)}/"
    objects = {info.key.removeprefix(folder): base.get(info.key) for info in MemoryStore.list(base, folder)}
    # Backdate the pointer, so that the earlier release is old enough to be collected as garbage.
    then = (_now() - AGE).isoformat()
    pointer = reading.read_current(objects["current.json"], "current.json")
    past = tuple(replace(entry, published_at=then, until=then) for entry in pointer.history)
    objects["current.json"] = documents.write(replace(pointer, published_at=then, history=past))
    track = layout.track_path(plan.title, plan.tracks[dropped.id])
    only_earlier = (f"releases/{first}/", f"{track.removeprefix(folder)}/")
    earlier = {key: data for key, data in objects.items() if key.startswith(only_earlier)}
    sizes = {key.removeprefix(folder): size for key, size in base.sizes[track].items()}
    common = {key: data for key, data in objects.items() if key not in earlier}
    return ManyTitles(tuple(f"title-{number:05}" for number in range(count)), common, earlier, sizes)


def first_titles(titles: ManyTitles, count: int) -> ManyTitles:
    """Return a store with the first ``count`` titles only."""
    return ManyTitles(titles.names[:count], titles.objects, titles.earlier, titles.earlier_sizes)


def _split(key: str) -> tuple[str, str]:
    """Return the title of a key, and the path in its folder."""
    title, _, path = key.removeprefix(f"{layout.TITLES}/").partition("/")
    return title, path


def _now() -> datetime:
    return datetime.now(UTC)
