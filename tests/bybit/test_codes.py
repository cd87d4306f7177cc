import pytest

from bot.bybit.codes import (
    MEANINGS,
    CodeKind,
    RateLimited,
    RequestAction,
    WrongClock,
    error_for,
    meaning,
    refusal_cause,
)
from bot.domain.errors import Rejected, Retryable, VenueError


@pytest.mark.parametrize(
    ("code", "action", "kind"),
    [
        (0, "create", "ok"),
        (110072, "create", "already_so"),
        (110043, "setup", "already_so"),
        (110025, "setup", "already_so"),
        (34040, "stops", "already_so"),
        (110001, "cancel", "gone"),
        (110001, "amend", "gone"),
        (110001, "create", "refused"),
        (10016, "create", "retry_unknown"),
        (10019, "create", "retry_unknown"),
        (10006, "create", "rate"),
        (20003, "create", "rate"),
        (10002, "create", "clock"),
        (10003, "query", "credentials"),
        (10004, "query", "credentials"),
        (33004, "query", "credentials"),
        (10001, "create", "refused"),
        (110017, "create", "refused"),
        (110094, "create", "refused"),
        (110007, "create", "no_money"),
        (110090, "setup", "no_money"),
        (110063, "create", "market_state"),
        (110100, "create", "market_state"),
        (10404, "create", "bug"),
        (20006, "create", "bug"),
        (181001, "query", "bug"),
    ],
)
def test_a_code_means_what_to_do_next(code: int, action: RequestAction, kind: CodeKind) -> None:
    found = meaning(code, action=action)
    assert (found.code, found.kind) == (code, kind)
    assert found.words


@pytest.mark.parametrize(
    ("code", "says"),
    [(110123, "signed the terms"), (110124, "cooling-off"), (110125, "signed the terms"), (110100, "demo")],
)
def test_a_refusal_of_the_account_says_what_the_operator_must_do(code: int, says: str) -> None:
    assert says in meaning(code, action="create").words


@pytest.mark.parametrize(
    "text",
    [
        "Reduce-only rule not satisfied",
        "current position is zero, cannot fix reduce-only order qty",
        "orderQty will be truncated to zero",
        "",
    ],
)
def test_the_number_of_a_refusal_decides_whatever_its_words(text: str) -> None:
    assert meaning(110017, action="create").kind == "refused"
    assert "110017, reduce-only" in str(error_for(110017, text))


@pytest.mark.parametrize(
    ("code", "text", "cause"),
    [
        (
            10001,
            "sl:257970000 set for Sell position should greater base_price:259477000??LastPrice",
            "missed",
        ),
        (10001, "StopLoss:310 set for Buy position should lower than base_price:305??LastPrice", "missed"),
        (
            10001,
            "TakeProfit:310 set for Buy position should be higher than base_price:315??MarkPrice",
            "missed",
        ),
        (10001, "[2f7f1a0c-0000-4000-8000-000000000000]buy: [3615099,3614837] invalid", "missed"),
        (10001, "params error: qty 0.015 is not a multiple of 0.1", "venue"),
        (10001, "The number of contracts exceeds minimum limit allowed", "venue"),
        (110007, "ab not enough for new order, base_price", "venue"),
        (110118, "no liquidity", "missed"),
        (110017, "current position is zero, cannot fix reduce-only order qty", "missed"),
        (110121, "beyond the price limit", "missed"),
        (110003, "Order price exceeds the allowable range", "venue"),
    ],
)
def test_a_refusal_because_the_market_moved_is_no_fault_of_the_order(
    code: int, text: str, cause: str
) -> None:
    assert refusal_cause(code, text).value == cause


def test_an_unknown_code_leaves_a_write_unknown_and_refuses_a_query() -> None:
    for action in ("create", "cancel", "amend", "stops"):
        assert meaning(987654, action=action).kind == "retry_unknown"
    assert meaning(987654, action="query").kind == "refused"


@pytest.mark.parametrize("code", sorted(MEANINGS.keys() - {0}))
def test_every_code_has_one_error_and_never_shows_a_text_with_the_key(code: int) -> None:
    leaf = {"rate": RateLimited, "clock": WrongClock, "retry_unknown": Retryable}.get(
        MEANINGS[code].kind, Rejected
    )
    error = error_for(code, "some\ntext")
    assert type(error) is leaf
    assert isinstance(error, VenueError)
    assert str(code) in str(error)
    assert ("some text" in str(error)) is (code != 10004)
