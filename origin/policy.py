"""How the origin's files may be cached, and their media types."""

ENTRY_POINT = "public, max-age=60, stale-while-revalidate=30, stale-if-error=86400"
"""For what leads to the current release: a cache may go on with it while the origin is away (RFC 5861)."""
RENDERED = "public, max-age=3600"
"""For manifests of a part of a release: a newer origin may write them in other words."""

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
MPD_TYPE = "application/dash+xml"
WEBVTT_TYPE = "text/vtt; charset=utf-8"
JPEG_TYPE = "image/jpeg"
