"""Which addresses a webhook may reach: the public ones, unless the configuration allows more.

A url can come from a person who must not see our network: the cloud's metadata service, the database, a
neighbour's pod. What counts is the address that is connected to, not the name: names are judged after they
are resolved, in the same step that connects, so that a second answer of a hostile name server has no effect.
Addresses written as such never pass a resolver and are judged by themselves.
"""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddressError(Exception):
    """A name leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet; an IPv4 address inside an IPv6 one counts."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is None and found.teredo is not None:
            return False
        found = inner or found
    return found.is_global and not found.is_multicast and not found.is_reserved


def is_address(host: str) -> bool:
    """Whether a host is written as an address, not as a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def judged(host: str, port: int, allow_private: bool) -> str:
    """The first address of a host, if all of them may be reached; blocks. Raises PrivateAddressError, OSError."""
    addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in addresses:
        if not allow_private and not is_public(address):
            raise PrivateAddressError(address)
    return addresses[0]


class PublicResolver(AbstractResolver):
    """Resolves names as the system does, and refuses a name if any of its addresses is not public."""

    def __init__(self) -> None:
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises PrivateAddressError; OSError where the name is not known."""
        found = await self._system.resolve(host, port, family)
        for result in found:
            if not is_public(result["host"]):
                raise PrivateAddressError(result["host"])
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._system.close()
