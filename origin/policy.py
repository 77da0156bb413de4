"""Cache-Control values and media types of the origin's files."""

ENTRY_POINT = "public, max-age=60, stale-while-revalidate=30, stale-if-error=86400"
"""For entry points; caches may serve them stale while the origin is unreachable (RFC 5861)."""
RENDERED = "public, max-age=3600"
"""For filtered manifests, which a newer version of the origin may render differently."""

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
MPD_TYPE = "application/dash+xml"
WEBVTT_TYPE = "text/vtt; charset=utf-8"
JPEG_TYPE = "image/jpeg"
