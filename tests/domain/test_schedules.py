"""A schedule names times of UTC, and names the same ones for ever."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput
from bot.domain.market import DAY_MS, HOUR_MS
from bot.domain.schedules import FORMS, Schedule

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TIMES = st.integers(0, 4_102_444_800_000)  # to 2100
NAMED = st.one_of(
    st.builds(lambda h, m: f"daily@{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59)),
    st.builds(
        lambda day, h, m: f"weekly@{day} {h:02}:{m:02}",
        st.sampled_from(DAYS),
        st.integers(0, 23),
        st.integers(0, 59),
    ),
)
SPANS = st.one_of(
    st.builds("{}h".format, st.integers(1, 8_760)), st.builds("{}d".format, st.integers(1, 365))
)


def moment(ts_ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ts_ms)


@given(NAMED, TIMES)
def test_the_next_due_time_is_the_first_one_after_now_at_the_named_time(text: str, now_ms: int) -> None:
    schedule = Schedule.of(text)
    due_ms = schedule.next_after(now_ms, 0)
    due = moment(due_ms)
    assert 0 < due_ms - now_ms <= schedule.period_ms
    assert f"{due:%H:%M}" == text[-5:]
    assert (due.second, due.microsecond) == (0, 0)
    if text.startswith("weekly"):
        assert DAYS[due.weekday()] == text.removeprefix("weekly@")[:3]


@given(st.one_of(NAMED, SPANS), TIMES, TIMES)
def test_the_last_due_time_is_not_after_now_and_the_next_one_a_period_later(
    text: str, now_ms: int, since_ms: int
) -> None:
    schedule = Schedule.of(text)
    last_ms = schedule.last_until(now_ms, since_ms)
    assert last_ms <= now_ms < schedule.next_after(now_ms, since_ms) == last_ms + schedule.period_ms
    assert schedule.next_after(last_ms, since_ms) == last_ms + schedule.period_ms


def test_a_year_of_days_has_no_drift_and_a_leap_year_one_day_more() -> None:
    schedule = Schedule.of("daily@03:00")
    for year, days in ((2027, 365), (2028, 366), (2100, 365)):
        at_ms, found = int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000), []
        while moment(due_ms := schedule.next_after(at_ms, 0)).year == year:
            found.append(moment(due_ms))
            at_ms = due_ms + 17  # it is never taken on the dot
        assert len(found) == days
        assert {each.strftime("%H:%M:%S") for each in found} == {"03:00:00"}


def test_a_span_counts_from_when_it_began() -> None:
    twelve = Schedule.of("12h")
    assert twelve.next_after(1_000, 1_000) == 1_000 + 12 * HOUR_MS
    assert twelve.next_after(1_000 + 25 * HOUR_MS, 1_000) == 1_000 + 36 * HOUR_MS
    assert Schedule.of("7d").period_ms == 7 * DAY_MS


def test_people_write_it_in_more_than_one_way() -> None:
    assert Schedule.of(" Weekly@Sun  03:00 ") == Schedule.of("weekly@sun 03:00")
    assert Schedule.of("weekly@sun@03:00") == Schedule.of("weekly@sun 03:00")


@pytest.mark.parametrize(
    "text",
    ["", "daily", "daily@3:00", "daily@24:00", "daily@03:60", "weekly@03:00", "weekly@so 03:00", "0h", "30m",
     "8761h", "366d", "-1d", "1.5h", "12 h", "hourly", "٣h", "daily@03:00 daily@04:00", "daily@03:00:00"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(BadInput, match="must be a schedule such as") as raised:
        Schedule.of(text)
    assert FORMS in str(raised.value)
