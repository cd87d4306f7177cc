import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.net.inbox import Inbox
from bot.domain.errors import Broken
from bot.domain.messages import BarsClosed, Candle, Event, LinkUp, MarkPrice, Quote

_NOTHING = object()


def quote(ts_ms: int, symbol: str = "BTCUSDT") -> Quote:
    return Quote(ts_ms, symbol, 1.0, 2.0)


def drain(inbox: Inbox) -> list[Event]:
    async def all_of_it() -> list[Event]:
        return [await inbox.get() for _ in range(len(inbox))]

    return asyncio.run(all_of_it())


async def test_what_must_not_be_lost_comes_out_in_the_order_it_went_in() -> None:
    inbox = Inbox()
    sent: list[Event] = [LinkUp(1, "feed"), BarsClosed(2, 60_000, ()), LinkUp(3, "venue")]
    for event in sent:
        inbox.put(event)
    assert [await inbox.get() for _ in sent] == sent


async def test_a_newer_price_takes_the_place_of_an_older_one() -> None:
    inbox = Inbox()
    for event in (quote(1), quote(1, "ETHUSDT"), quote(2), MarkPrice(3, "BTCUSDT", 1.5), quote(4)):
        inbox.put(event)
    assert [await inbox.get() for _ in range(3)] == [
        quote(4),
        quote(1, "ETHUSDT"),
        MarkPrice(3, "BTCUSDT", 1.5),
    ]
    assert inbox.superseded == 2


async def test_a_price_is_never_seen_before_a_bar_that_preceded_it() -> None:
    inbox = Inbox()
    for event in (quote(1), BarsClosed(2, 60_000, ()), quote(3)):
        inbox.put(event)
    assert [await inbox.get() for _ in range(2)] == [BarsClosed(2, 60_000, ()), quote(3)]


@pytest.mark.fault(26)
async def test_a_million_prices_take_the_room_of_one_each() -> None:
    inbox = Inbox(maxsize=1)
    for i in range(10_000):
        inbox.put(Candle(i, "BTCUSDT", 60_000, 0, 1.0, 1.0, 1.0, 1.0, 0.0))
    assert (len(inbox), inbox.superseded) == (1, 9_999)


@pytest.mark.fault(26)
async def test_too_many_events_that_must_not_be_lost_end_the_process() -> None:
    inbox = Inbox(maxsize=2)
    inbox.put(LinkUp(1, "feed"))
    inbox.put(LinkUp(2, "feed"))
    inbox.put(quote(3))
    with pytest.raises(Broken, match="2 events wait"):
        inbox.put(BarsClosed(4, 60_000, ()))


async def test_a_bulk_sender_waits_for_room_and_the_consumer_for_events() -> None:
    inbox = Inbox(maxsize=4)

    async def send() -> None:
        for i in range(100):
            await inbox.room()
            inbox.put(LinkUp(i, "feed"))
            assert len(inbox) <= 2

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        seen = [(await inbox.get()).ts_ms for _ in range(100)]
    assert seen == list(range(100))


async def test_the_age_of_the_next_event_is_the_lag() -> None:
    now_s = 10.0
    inbox = Inbox(now_s=lambda: now_s)
    assert inbox.oldest_age_ms == 0.0
    inbox.put(quote(1))
    now_s = 10.5
    inbox.put(quote(2))
    assert inbox.oldest_age_ms == 500.0


async def test_a_full_inbox_still_lets_others_have_their_turn() -> None:
    now_s = 0.0
    inbox = Inbox(now_s=lambda: now_s)
    for i in range(100):
        inbox.put(LinkUp(i, "feed"))
    other = asyncio.ensure_future(asyncio.sleep(0))
    for _ in range(6):
        await inbox.get()
        now_s += 0.009  # the consumer works on each event
    assert other.done()


steps = st.lists(
    st.one_of(
        st.just(_NOTHING),
        st.sampled_from(["bar", "BTCUSDT", "ETHUSDT"]),
    ),
    max_size=60,
)


@pytest.mark.fault(26)
@given(steps)
def test_any_mix_keeps_every_bar_the_latest_price_and_their_order(steps: list[object]) -> None:
    """``_NOTHING`` takes one out; the events carry their number as time."""
    inbox = Inbox(now_s=lambda: 0.0)
    put: list[Event] = []
    seen: list[Event] = []

    async def act() -> None:
        for i, step in enumerate(steps):
            if step is _NOTHING:
                if len(inbox):
                    seen.append(await inbox.get())
                continue
            put.append(LinkUp(i, "feed") if step == "bar" else quote(i, str(step)))
            inbox.put(put[-1])

    asyncio.run(act())
    seen += drain(inbox)
    bars = [event for event in put if isinstance(event, LinkUp)]
    assert [event for event in seen if isinstance(event, LinkUp)] == bars
    for symbol in ("BTCUSDT", "ETHUSDT"):
        sent = [event.ts_ms for event in put if isinstance(event, Quote) and event.symbol == symbol]
        got = [event.ts_ms for event in seen if isinstance(event, Quote) and event.symbol == symbol]
        assert got == sorted(got)
        assert got[-1:] == sent[-1:]
    for bar in bars:  # no later event is seen before a bar
        assert all(event.ts_ms < bar.ts_ms for event in seen[: seen.index(bar)])
