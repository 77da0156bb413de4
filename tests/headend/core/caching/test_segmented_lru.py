import random

from headend.core.caching.segmented_lru import SegmentedLRU


def test_a_stored_entry_is_found() -> None:
    shelf: SegmentedLRU[str, str] = SegmentedLRU(100)
    shelf.put("a", "A", 10)
    assert (shelf.get("a"), shelf.get("b")) == ("A", None)


def test_the_budget_is_never_exceeded() -> None:
    shelf: SegmentedLRU[str, int] = SegmentedLRU(1000)
    sizes: dict[str, int] = {}
    dice = random.Random(7)
    for _ in range(5000):
        key = str(dice.randrange(60))
        match dice.randrange(3):
            case 0:
                sizes[key] = dice.randrange(1, 300)
                shelf.put(key, sizes[key], sizes[key])
            case 1:
                shelf.get(key)
            case _:
                shelf.drop(key)
        held = [size for name in list(sizes) if (size := shelf.get(name)) is not None]
        assert sum(held) == shelf.size_bytes <= 1000


def test_reading_many_entries_once_does_not_evict_popular_ones() -> None:
    shelf: SegmentedLRU[str, int] = SegmentedLRU(100)
    for number in range(5):
        shelf.put(f"popular-{number}", number, 10)
        shelf.get(f"popular-{number}")
    for number in range(1000):
        shelf.put(f"once-{number}", number, 10)
    assert all(shelf.get(f"popular-{number}") == number for number in range(5))


def test_formerly_popular_entries_are_evicted_eventually() -> None:
    shelf: SegmentedLRU[str, int] = SegmentedLRU(100)
    shelf.put("old", 0, 10)
    shelf.get("old")
    for number in range(100):
        shelf.put(str(number), number, 10)
        shelf.get(str(number))
    assert shelf.get("old") is None


def test_an_entry_larger_than_the_budget_is_not_stored_and_evicts_nothing() -> None:
    shelf: SegmentedLRU[str, str] = SegmentedLRU(100)
    shelf.put("small", "s", 50)
    shelf.put("huge", "h", 101)
    assert (shelf.get("small"), shelf.get("huge")) == ("s", None)


def test_putting_again_replaces() -> None:
    shelf: SegmentedLRU[str, str] = SegmentedLRU(100)
    shelf.put("a", "old", 60)
    shelf.put("a", "new", 70)
    assert (shelf.get("a"), shelf.size_bytes) == ("new", 70)
