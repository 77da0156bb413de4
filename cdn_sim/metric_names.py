"""Names of all metrics, shared by a simulation's report and a live edge's ``/metrics``."""

REQUESTS = "headend_edge_requests_total"
SENT_BYTES = "headend_edge_sent_bytes_total"
FETCHED_BYTES = "headend_edge_fetched_bytes_total"
DISK_BYTES = "headend_edge_disk_bytes"
FILL_BYTES = "headend_edge_fill_bytes_total"
INFLIGHT = "headend_edge_inflight"
STALL_SECONDS = "headend_viewer_stall_seconds_total"
BITRATE = "headend_viewer_bitrate_bps"

HELP = {
    REQUESTS: "Requests by tier, edge and decision.",
    SENT_BYTES: "Bytes sent by tier, edge and decision.",
    FETCHED_BYTES: "Bytes fetched from the next tier.",
    DISK_BYTES: "Size of the cache.",
    FILL_BYTES: "Bytes of proactive fill by result.",
    INFLIGHT: "Fetches in progress.",
    STALL_SECONDS: "Total time that viewers' playback stalled.",
    BITRATE: "Mean bitrate of the segments sent to viewers.",
}
"""Help text of each metric."""
