import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.api.rates import Buckets, Rate, neighbourhood, whole_seconds


def test_a_burst_passes_and_then_one_each_interval() -> None:
    buckets = Buckets[str](Rate(per_s=2.0, burst=3), most=10)
    assert [buckets.take("a", 0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.25) == 0.25
    assert [buckets.take("a", 0.5), buckets.take("a", 0.5)] == [0.0, 0.5]
    assert [buckets.take("a", 1000.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_rate_of_zero_limits_nothing() -> None:
    buckets = Buckets[str](Rate(per_s=0.0, burst=1), most=10)
    assert {buckets.take("a", 0.0) for _ in range(100)} == {0.0}
    assert len(buckets) == 0


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=200), st.floats(0.5, 50), st.integers(1, 20))
def test_never_more_than_the_burst_and_the_rate_allow(gaps: list[float], per_s: float, burst: int) -> None:
    buckets, now, passed = Buckets[str](Rate(per_s, burst), most=1), 0.0, 0
    for gap in gaps:
        now += gap
        passed += not buckets.take("a", now)
    assert passed <= burst + per_s * now + 1e-6


def test_the_longest_unused_is_forgotten_beyond_the_most() -> None:
    buckets = Buckets[int](Rate(per_s=0.001, burst=1), most=100)
    for number in range(100_000):
        buckets.take(number, 0.0)
    assert len(buckets) == 100
    assert buckets.take(99_999, 0.0) > 0
    assert buckets.take(0, 0.0) == 0.0


def test_retry_after_is_never_too_early() -> None:
    assert [whole_seconds(wait_s) for wait_s in (0.0, 0.1, 1.0, 1.1, 59.2)] == [1, 1, 1, 2, 60]


@pytest.mark.parametrize(
    ("remote", "counted"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("", ""),
        (None, ""),
        ("@unix", "@unix"),
    ],
)
def test_hosts_are_counted_by_address_and_in_ipv6_by_network(remote: str | None, counted: str) -> None:
    assert neighbourhood(remote) == counted
