"""Host names of this machine."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost`` or a loopback address, with or without brackets."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
