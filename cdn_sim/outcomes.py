"""Numbers and names of what the simulation counts: a cache's decision on a request, and the viewers' experience."""

HIT, DELAYED, CONTENT_MISS, HEALTH_MISS, LATE_FILL, PASSED, FAILED = range(7)
DECISIONS = ("hit", "delayed", "content miss", "health miss", "late fill", "passed", "failed")
"""Results of a request at a cache, by number. All but the first two and the last are misses."""

(SESSIONS, SEGMENTS, STALL_MS, STALLS, START_MS, KBPS, CHANGE_KBPS, GAVE_UP, ENDED) = range(9)
EXPERIENCE = ("sessions", "segments", "stall_ms", "stalls", "start_ms", "kbps", "change_kbps", "gave_up", "ended")
"""Columns of the viewers' experience, summed by hour; ``kbps`` is a sum over segments."""
