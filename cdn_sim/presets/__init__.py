"""Scenarios that come along, as TOML files."""
