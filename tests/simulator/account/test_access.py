"""The door: credentials, receive windows, quotas."""

import pytest

from bot.bybit.serve import Auth
from bot.bybit.sign import rest_signature, ws_signature
from bot.simulator.account.access import AccessGate, AddressLimit, Key, Quotas, RequestRefused, UsedIds
from bot.simulator.config import AccessRules

NOW = 1_700_000_000_000
KEYS = {"test-key": Key("test-key", "test-secret", uid=100_000_001)}


def headers(
    payload: str = "", *, ts_ms: int = NOW, window: str | None = "5000", key: str = "test-key", **other: str
) -> dict[str, str]:
    made = {
        "X-BAPI-API-KEY": key,
        "X-BAPI-TIMESTAMP": str(ts_ms),
        "X-BAPI-SIGN": rest_signature("test-secret", ts_ms, key, window or "", payload),
    }
    if window is not None:
        made["X-BAPI-RECV-WINDOW"] = window
    return {name: value for name, value in {**made, **other}.items() if value}


def code(
    gate: AccessGate, given: dict[str, str], payload: str = "", *, now_ms: int = NOW, speed: float = 1.0
) -> int:
    try:
        gate.rest(given, payload.encode(), now_ms=now_ms, speed=speed)
    except RequestRefused as refused:
        return refused.code
    return 0


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "category=linear&symbol=BTCUSDT",
        "symbol=BTCUSDT&category=linear",
        '{"a": "1",  "b":2}',
        "cursor=a%3A1%2C",
    ],
)
def test_the_raw_payload_is_what_is_signed(payload: str) -> None:
    gate = AccessGate(KEYS, AccessRules())
    assert gate.rest(headers(payload), payload.encode(), now_ms=NOW, speed=1.0).uid == 100_000_001
    assert code(gate, headers(payload), payload + " ") == 10004


def test_the_published_signature_is_accepted() -> None:
    query = "category=linear&symbol=BTCUSDT"
    sign = "9a7c8cfd6ba1a7c498aa4dd5a7f9cfbba01fcb6eebae734ffe0d775870a1a3fb"
    assert code(AccessGate(KEYS, AccessRules()), headers(query, **{"X-BAPI-SIGN": sign}), query) == 0


@pytest.mark.parametrize(
    ("age_ms", "expected"), [(0, 0), (5000, 0), (5001, 10002), (-999, 0), (-1000, 10002), (-3000, 10002)]
)
def test_a_stamp_is_good_for_the_window_back_and_less_than_a_second_ahead(age_ms: int, expected: int) -> None:
    assert code(AccessGate(KEYS, AccessRules()), headers(ts_ms=NOW - age_ms)) == expected


def test_the_window_is_wall_time_on_a_fast_clock() -> None:
    gate = AccessGate(KEYS, AccessRules())
    assert code(gate, headers(ts_ms=NOW - 50_000), speed=10.0) == 0
    assert code(gate, headers(ts_ms=NOW - 50_001), speed=10.0) == 10002


def test_without_a_window_header_five_seconds_hold_and_nothing_is_signed() -> None:
    gate = AccessGate(KEYS, AccessRules())
    assert code(gate, headers(window=None, ts_ms=NOW - 5000)) == 0
    assert code(gate, headers(window=None, ts_ms=NOW - 5001)) == 10002


@pytest.mark.parametrize("name", ["X-BAPI-API-KEY", "X-BAPI-SIGN", "X-BAPI-TIMESTAMP"])
def test_a_missing_header_is_401_or_a_code_by_choice(name: str) -> None:
    for choice, status in (("http401", 401), ("retcode", 200)):
        with pytest.raises(RequestRefused) as caught:
            AccessGate(KEYS, AccessRules(missing_headers=choice)).rest(
                headers(**{name: ""}), b"", now_ms=NOW, speed=1.0
            )
        assert (caught.value.code, caught.value.status) == (10003, status)


def test_an_unknown_key_comes_before_the_signature_unless_told_otherwise() -> None:
    wrong = headers(key="no-such-key", **{"X-BAPI-SIGN": "0" * 64})
    assert code(AccessGate(KEYS, AccessRules()), wrong) == 10003
    assert code(AccessGate(KEYS, AccessRules(key_before_signature=False)), wrong) == 10004


@pytest.mark.parametrize("stamp", ["now", "", "1e12", "9" * 30, "-1", "١٧٠٠"])
def test_an_unreadable_stamp_is_refused_not_fatal(stamp: str) -> None:
    given = headers()
    given["X-BAPI-TIMESTAMP"] = stamp
    assert code(AccessGate(KEYS, AccessRules()), given) in (10001, 10002, 10003)


def test_a_socket_opens_until_its_expiry() -> None:
    gate, expires = AccessGate(KEYS, AccessRules()), str(NOW + 1)
    auth = Auth("test-key", expires, ws_signature("test-secret", expires))
    assert gate.login(auth, now_ms=NOW).key == "test-key"
    for changed, now_ms, expected in (
        (auth, NOW + 1, 10001),
        (Auth("other", expires, auth.signature), NOW, 10003),
        (Auth("test-key", expires, "00"), NOW, 10004),
    ):
        with pytest.raises(RequestRefused) as caught:
            gate.login(changed, now_ms=now_ms)
        assert caught.value.code == expected


def test_the_quota_refills_a_second_after_its_first_unit() -> None:
    quotas = Quotas(AccessRules(order_quota=10))
    take = lambda wall_s, cost=1: quotas.take(1, "create", cost, wall_s=wall_s, now_ms=NOW, speed=2.0)  # noqa: E731
    assert [take(0.1 * i).granted for i in range(10)] == [1] * 10
    refused = take(0.95)
    assert (refused.granted, refused.limit.left, refused.limit.quota) == (0, 0, 10)
    assert refused.limit.reset_ms == NOW + 100  # 50 ms of wall time, on a clock twice as fast
    assert take(1.0).granted == 1


def test_accounts_and_groups_have_quotas_of_their_own() -> None:
    quotas = Quotas(AccessRules(order_quota=10))
    for uid, group in ((1, "create"), (2, "create"), (1, "cancel")):
        assert quotas.take(uid, group, 10, wall_s=0.0, now_ms=NOW, speed=1.0).granted == 10


def test_a_batch_gets_the_part_that_the_quota_allows() -> None:
    quotas = Quotas(AccessRules(order_quota=10))
    assert quotas.take(1, "create-batch", 7, wall_s=0.0, now_ms=NOW, speed=1.0).granted == 7
    rest = quotas.take(1, "create-batch", 7, wall_s=0.0, now_ms=NOW, speed=1.0)
    assert (rest.granted, rest.limit.left) == (3, 0)


def test_an_address_may_ask_so_often_in_five_seconds() -> None:
    limit = AddressLimit(3)
    assert [limit.allows(t) for t in (0.0, 1.0, 2.0, 3.0, 5.0, 5.5)] == [True, True, True, False, True, False]
    assert all(AddressLimit(None).allows(0.0) for _ in range(1000))


def test_used_ids_are_remembered_up_to_a_bound() -> None:
    used = UsedIds(most=2)
    for name in "abc":
        used.add(name)
    assert ["a" in used, "b" in used, "c" in used] == [False, True, True]
