"""How often something may happen: token buckets, in bounded number. Pure: time comes in as an argument."""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Rate:
    """*burst* at once, and *per_s* in the long run. A *per_s* of 0 limits nothing."""

    per_s: float
    burst: float


class Buckets(Generic[KeyT]):
    """A bucket for each key. Beyond *most* of them the one that was used longest ago is forgotten, as if it were full again."""

    def __init__(self, rate: Rate, most: int) -> None:
        self._rate = rate
        self._most = most
        self._buckets: OrderedDict[KeyT, tuple[float, float]] = OrderedDict()
        """Key → (what was in it, when), the longest unused first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: KeyT, now: float) -> float:
        """Take one out of the bucket of *key* and return 0; or, where there is none, the seconds until there will be. *now* never falls."""
        if self._rate.per_s <= 0:
            return 0.0
        left, at = self._buckets.pop(key, (self._rate.burst, now))
        left = min(self._rate.burst, left + (now - at) * self._rate.per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._rate.per_s
        self._buckets[key] = (left if wait_s else left - 1, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait_s


def whole_seconds(wait_s: float) -> int:
    """For Retry-After, which knows no fractions: never too early."""
    return max(1, math.ceil(wait_s))


def neighbourhood(remote: str | None) -> str:
    """The address that is counted for *remote*: of IPv6 the /64 network, since a single host has all of one at its choice."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
