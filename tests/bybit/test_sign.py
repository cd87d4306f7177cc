import pytest

from bot.bybit.sign import rest_signature, verify, ws_signature

# The vectors were made with the documented recipe: timestamp + key + recv_window + payload, HMAC-SHA256.
BODY = (
    '{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.01","price":"30000"}'
)


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (
            "category=linear&symbol=BTCUSDT",
            "9a7c8cfd6ba1a7c498aa4dd5a7f9cfbba01fcb6eebae734ffe0d775870a1a3fb",
        ),
        ("", "d8d5e71d8f986368aa5c13405f059ab6adb4f41df59d2f11bb056226b63457d6"),
        (BODY, "e46fcc9d43e547e14cb2f7a38b2a1ac19f52a1fd57202231b0a4a97ef104b9e3"),
        (
            BODY.replace(":", ": ").replace(",", ", "),
            "63e3f15bf3c625a5076779587440a2d25273b32d81b0b91830ced030aefe946b",
        ),
    ],
    ids=["query", "nothing", "body", "spaced body"],
)
def test_requests_are_signed_over_their_raw_bytes(payload: str, signature: str) -> None:
    for raw in (payload, payload.encode()):
        assert rest_signature("test-secret", 1_700_000_000_000, "test-key", 5000, raw) == signature
        assert rest_signature("test-secret", "1700000000000", "test-key", "5000", raw) == signature


def test_a_socket_is_opened_by_a_signed_time() -> None:
    expected = "977d2a1068009c263a4e3e15a2838ccaf62d1eda4ca2ff08b5456910b481b58b"
    assert ws_signature("test-secret", 1_700_000_010_000) == expected
    assert ws_signature("test-secret", "1700000010000") == expected


@pytest.mark.parametrize(
    ("given", "equal"), [("ab", True), ("ac", False), ("abc", False), ("", False), ("é", False)]
)
def test_signatures_are_compared_whatever_was_sent(given: str, equal: bool) -> None:
    assert verify("ab", given) is equal
    assert verify("ab", "\ud800") is False
