"""Logs of requests, in and out: the decision log of an edge, access logs, oracleGeneral traces and CSV."""
