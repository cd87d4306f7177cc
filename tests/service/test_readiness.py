"""The daemon's readiness: every combination of facts, every notice, and what ``bot status`` makes of them."""

from decimal import Decimal
from itertools import product

import msgspec
import pytest

from bot.engine.state import EngineState
from bot.risk.breaker import Breaker, Cause
from bot.service.readiness import CHANGES, ROWS, Notice, Readiness, Word, advance
from bot.service.views.status import readiness, state_of

NOW = 1_735_735_500_000
FACTS = Readiness.__struct_fields__
EVERY = [Readiness(**dict(zip(FACTS, values, strict=True))) for values in product((False, True), repeat=8)]
START = Readiness(account_read=False)
LOCAL = Readiness(account_read=True)


def after(start: Readiness, *notices: Notice) -> Readiness:
    for notice in notices:
        start = advance(start, notice)
    return start


TRADING = after(LOCAL, Notice.RUNNING, Notice.FEED_UP, Notice.WARM, Notice.KEEPING_UP)


def expected(now: Readiness) -> Word:
    """The table, written down a second time and another way."""
    if now.stopping:
        return Word.STOPPING
    if not now.running:
        return Word.STARTING
    if not now.account_read:
        return Word.RECOVERING
    if not now.started:
        return Word.CATCHING_UP if now.history_read and now.warm else Word.WARMING
    if now.stalled:
        return Word.STALLED
    if now.feed_up:
        return Word.TRADING if now.warm else Word.COLD
    return Word.FEED_DOWN


def test_every_combination_of_facts_has_its_word() -> None:
    assert [now.word for now in EVERY] == [expected(now) for now in EVERY]


def test_every_word_and_every_sign_has_its_row() -> None:
    assert {word for word, _ in ROWS} == set(Word) == {now.word for now in EVERY}
    assert set(CHANGES) == set(Notice)


@pytest.mark.parametrize("notice", Notice)
def test_a_sign_sets_its_facts_and_no_others_and_a_repeat_nothing(notice: Notice) -> None:
    for now in EVERY:
        complete = now.running and now.account_read and now.history_read and now.warm
        changes = {"started": True} if notice is Notice.KEEPING_UP and complete else CHANGES[notice]
        then = advance(now, notice)
        assert then == msgspec.structs.replace(now, **changes)
        assert advance(then, notice) is then


def test_the_start_goes_through_its_words_in_order() -> None:
    steps = [Notice.RUNNING, Notice.ACCOUNT_READ, Notice.FEED_UP, Notice.WARM, Notice.KEEPING_UP]
    words = [after(START, *steps[:count]).word for count in range(6)]
    assert words == [
        Word.STARTING,
        Word.RECOVERING,
        Word.WARMING,
        Word.WARMING,
        Word.CATCHING_UP,
        Word.TRADING,
    ]


def test_an_account_read_late_does_not_start_on_an_old_word_of_keeping_up() -> None:
    early = after(START, Notice.RUNNING, Notice.FEED_UP, Notice.WARM, Notice.KEEPING_UP, Notice.ACCOUNT_READ)
    assert early.word is Word.CATCHING_UP


@pytest.mark.parametrize(
    ("notice", "word", "state", "back"),
    [
        (Notice.FEED_DOWN, Word.FEED_DOWN, "reducing", Notice.FEED_UP),
        (Notice.STALL, Word.STALLED, "stalled", Notice.LIVE_CLOSE),
        (Notice.COLD, Word.COLD, "warming", Notice.WARM),
    ],
)
def test_a_bot_that_enters_nothing_does_not_call_itself_trading(
    notice: Notice, word: Word, state: str, back: Notice
) -> None:
    assert TRADING.word is Word.TRADING
    then = advance(TRADING, notice)
    assert then.started
    assert (then.word, state_of(Breaker(), then.word)) == (word, state)
    assert advance(then, back) == TRADING


@pytest.mark.parametrize(("word", "state"), list(product(Word, ["active", "reducing", "paused", "halted"])))
def test_only_a_trading_daemon_whose_breaker_is_active_calls_itself_trading(word: Word, state: str) -> None:
    breaker = Breaker()
    if state == "halted":
        breaker.halt(Cause.DRAWDOWN)
    elif state == "paused":
        breaker.pause()
    elif state == "reducing":
        breaker.link_down("feed")
    said = state_of(breaker, word)
    assert (said == "trading") == (word is Word.TRADING and state == "active")
    assert (said == "halted") == (state == "halted")
    begun = word not in (Word.STARTING, Word.RECOVERING, Word.WARMING, Word.CATCHING_UP, Word.STOPPING)
    assert (said == "paused") == (begun and state == "paused")
    facts = readiness(_state(breaker), word, NOW)
    assert facts["readiness"] == word.value
    assert facts["state_words"]


def test_the_words_name_what_holds_the_bot_back() -> None:
    breaker = Breaker()
    breaker.link_down("venue")
    assert "link_down: venue" in str(readiness(_state(breaker), Word.TRADING, NOW)["state_words"])
    breaker.halt(Cause.DRAWDOWN)
    assert "drawdown" in str(readiness(_state(breaker), Word.TRADING, NOW)["state_words"])


def _state(breaker: Breaker) -> EngineState:
    return EngineState(Decimal(1), {}, breaker, {})
