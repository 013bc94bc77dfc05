"""Which URLs a push or a mail may carry. Pure: nobody is asked, no name is looked up.

A link is opened by the recipient, an image is fetched by a device or by a provider, an attachment by us. Any must be
plain http or https without credentials; what is fetched must also be where everybody can reach it, and never in
somebody's own network.
"""

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import urlsplit

_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f\\]|\s")
"""What browsers strip, or read as a slash: a URL with one of these is read in more than one way."""
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_DOTS = str.maketrans({"\u3002": ".", "\uff61": "."})
"""The full stops of other scripts that browsers read as one, and that NFKC leaves."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def link_problem(url: str) -> str | None:
    """What is wrong with a URL that is opened, or None."""
    return _host_or_problem(url)[1]


def image_problem(url: str) -> str | None:
    """What is wrong with a URL that is fetched, or None. Every way to write a private address is one."""
    return fetch_problem(url)


def fetch_problem(url: str, *, anywhere: bool = False) -> str | None:
    """The same; with `anywhere` a host in somebody's own network is no problem."""
    host, problem = _host_or_problem(url)
    if problem is None and not anywhere and not _is_public(host):
        return "names a host that is not on the public internet"
    return problem


def host_and_port(url: str) -> tuple[str, int] | None:
    """Where the URL leads, the host in one way of writing it; None where something is wrong with it."""
    host, problem = _host_or_problem(url)
    if problem is not None:
        return None
    parts = urlsplit(url)
    return host, parts.port or (443 if parts.scheme == "https" else 80)


def is_public_address(address: str) -> bool:
    """Whether an IP address, as a resolver gives it, is one of the public internet. A scope (`%eth0`) makes it none."""
    found = _ipv6(address) if ":" in address else _ipv4(address)
    return found is not None and "%" not in address and all(_is_global(one) for one in _meant(found))


def _host_or_problem(url: str) -> tuple[str, str | None]:
    """The host, in one way of writing it; and what is wrong."""
    if _NOT_IN_URLS.search(url):
        return "", "has a space, a control character or a backslash"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # a port that cannot be raises ValueError by itself
    except ValueError:
        return "", "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "", "takes an http or https URL"
    if "@" in parts.netloc:
        return "", "holds credentials"
    host = unicodedata.normalize("NFKC", host).translate(_DOTS).lower().removesuffix(".")
    return (host, None) if _is_host(host) else ("", "names no host")


def _is_host(host: str) -> bool:
    if ":" in host:
        return _ipv6(host) is not None
    labels = host.split(".")
    if not all(labels) or len(host) > 253 or not host.isprintable() or re.search(r"[%/?#\[\]@<>^|]", host):
        return False
    return _ipv4(host) is not None if _NUMBER.fullmatch(labels[-1]) else True


def _is_public(host: str) -> bool:
    address = _ipv6(host) if ":" in host else _ipv4(host)
    if address is not None:
        return all(_is_global(one) for one in _meant(address))
    return "." in host and not any(host.endswith(f".{name}") for name in _LOCAL_NAMES)


def _ipv4(host: str) -> ipaddress.IPv4Address | None:
    """An address as browsers read it: `127.1`, `0x7f.1`, `0177.0.0.1` and `2130706433` are all the same."""
    labels = host.split(".")
    if not all(_NUMBER.fullmatch(label) for label in labels):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _ipv6(host: str) -> ipaddress.IPv6Address | None:
    try:
        return ipaddress.IPv6Address(host)
    except ValueError:
        return None


def _meant(address: _Address) -> list[_Address]:
    """The address, and the IPv4 address that an IPv6 address may only stand for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    embedded = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        embedded.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        return [one for one in embedded if one is not None]
    return [address, *(one for one in embedded if one is not None)]


def _is_global(address: _Address) -> bool:
    return address.is_global and not address.is_multicast
