"""Logs of requests: decision logs of edges (read and written), access logs, oracleGeneral traces and CSV (read)."""
