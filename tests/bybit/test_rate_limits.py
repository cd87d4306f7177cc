import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.bybit.rate_limits import ADDRESS, ADDRESS_QUOTA, QUOTAS, RateLimiter


def test_a_full_quota_is_free_at_once_and_the_next_request_waits_for_the_window() -> None:
    budget = RateLimiter({"create": 10}, {})
    assert [budget.take("create", 0.0) for _ in range(10)] == [0.0] * 10
    assert budget.take("create", 50.0) == 1_050.0
    assert budget.take("create", 1_099.0) == 1.0
    assert budget.take("create", 1_100.0) == 0.0


def test_groups_do_not_share_their_quota_but_share_the_address() -> None:
    budget = RateLimiter({"create": 2, "market": 10_000}, {})
    budget.take("create", 0.0)
    budget.take("create", 0.0)
    assert budget.take("create", 0.0) > 0
    taken = 2
    while budget.take("market", 1.0) == 0.0:
        taken += 1
    assert taken == ADDRESS_QUOTA
    assert budget.take("create", 4_000.0) > 0
    assert budget.take("create", 5_200.0) == 0.0


def test_only_urgent_requests_may_take_the_reserve() -> None:
    budget = RateLimiter({"orders": 5}, {"orders": 2})
    assert [budget.take("orders", 0.0) for _ in range(3)] == [0.0] * 3
    assert budget.take("orders", 0.0) > 0
    assert [budget.take("orders", 0.0, urgent=True) for _ in range(2)] == [0.0] * 2
    assert budget.take("orders", 0.0, urgent=True) > 0


@pytest.mark.fault(23)
def test_a_flood_of_ordinary_requests_never_delays_a_cancel() -> None:
    budget = RateLimiter()
    rng = random.Random(1)
    now_ms = 0.0
    for _ in range(20_000):
        now_ms += rng.expovariate(1 / 3)
        budget.take(rng.choice(["market", "create", "account"]), now_ms)
        if rng.random() < 0.002:
            assert budget.take("cancel", now_ms, urgent=True) == 0.0


def test_a_refused_wait_takes_no_token() -> None:
    budget = RateLimiter({"create": 1, "amend": 1}, {})
    assert budget.take("create", 0.0) == 0.0
    assert budget.take("create", 10.0) == 1_090.0
    assert budget.take("create", 10.0) == 1_090.0
    assert budget.take("create", 1_100.0) == 0.0


def test_after_a_refusal_urgent_requests_wait_too() -> None:
    budget = RateLimiter()
    budget.limited("create", 3_000.0)
    budget.limited("create", 2_000.0)
    assert budget.take("create", 1_000.0, urgent=True) == 2_000.0
    assert budget.take("cancel", 1_000.0) == 0.0
    budget.limited(ADDRESS, 600_000.0)
    assert budget.take("cancel", 1_000.0, urgent=True) == 599_000.0


def test_a_reserve_must_leave_tokens_for_ordinary_requests() -> None:
    with pytest.raises(ValueError, match="create: reserved"):
        RateLimiter({"create": 10}, {"create": 10})


@pytest.mark.fault(23)
@given(st.lists(st.tuples(st.sampled_from(sorted(QUOTAS)), st.floats(0, 400), st.booleans()), max_size=300))
def test_no_window_ever_holds_more_than_the_quota(steps: list[tuple[str, float, bool]]) -> None:
    budget = RateLimiter()
    now_ms, sent = 0.0, []
    for group, pause_ms, urgent in steps * 3:
        now_ms += pause_ms / 20
        wait_ms = budget.take(group, now_ms, urgent)
        if wait_ms:
            again = now_ms + wait_ms
            if budget.take(group, again, urgent) == 0.0:
                now_ms = again
                sent.append((now_ms, group))
        else:
            sent.append((now_ms, group))
    for at_ms, group in sent:
        inside = [g for t, g in sent if at_ms - 1_000 < t <= at_ms]
        assert inside.count(group) <= QUOTAS[group]
    for at_ms, _ in sent:
        assert sum(at_ms - 5_000 < t <= at_ms for t, _ in sent) <= ADDRESS_QUOTA
