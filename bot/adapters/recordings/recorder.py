"""The recorder: public sockets into files, with a mark wherever something is missing.

Frames are stamped as they arrive and gathered in memory. Every ``FLUSH_S`` a thread compresses and syncs
them, so stamps never wait for the disk. A kill loses at most what was gathered since.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bot.adapters.net.link import REFUSALS_MAX, DialGate, Link, LinkPolicy
from bot.adapters.recordings.files import RecordingFolder
from bot.adapters.recordings.rows import (
    Back,
    Begin,
    End,
    Lost,
    Mark,
    Missed,
    Rules,
    frame_row,
    mark_row,
    state_row,
)
from bot.bybit.frames import Frame, FrameSession, KeptState, RawMessage
from bot.bybit.rate_limits import AddressBudget
from bot.bybit.session import MAX_ARGS_CHARACTERS, BadMessage, Patience, Subscribed, SubscribeFailed
from bot.domain.errors import BadInput, Rejected, StoreFailed
from bot.domain.market import Instrument

FLUSH_S = 2.0
_BLOCK_BYTES = 1 << 20
"""So many gathered bytes are written before their time."""
_GATHERED_BYTES_MAX = 256 << 20
_TOPICS_PER_LINK = 400

OnNote = Callable[[str, dict[str, object]], None]


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """What is recorded, and how patient the recorder is. Times are the machine's, in ms.

    Args:
        feed, url: where the frames come from; ``url`` is the public stream's.
        topics: Bybit's names, for example ``orderbook.50.BTCUSDT``.
        rotate_ms: a file is closed after this time.
        silence_ms: a connection without any frame for longer is dialled again.
    """

    feed: str
    url: str
    symbols: tuple[str, ...]
    topics: tuple[str, ...]
    version: str
    rotate_ms: int = 3_600_000
    silence_ms: int = 75_000
    connect_timeout_ms: int = 10_000
    ping_ms: int = 15_000
    pong_timeout_ms: int = 8_000
    policy: LinkPolicy = field(default_factory=LinkPolicy)


@dataclass
class RecorderCounts:
    """What a recorder has seen. ``bytes`` before compression."""

    frames: int = 0
    bytes: int = 0
    gaps: int = 0
    """Connections lost, and runs of book frames missed."""
    bad_messages: int = 0
    files: int = 0


class MarketRecorder:
    """Records until told to stop: ``await Recorder(...).run(stopped)``.

    Args:
        config: what is recorded.
        folder: where.
        rules: the trading rules of the symbols, as far as they are known.
        wall_us: this machine's UTC in µs.
        rng, ids: jitter of the waits, names of the requests.
        on_note: called with what a person may want to know.
        address: what the venue grants to this process.
    """

    def __init__(
        self,
        config: RecorderConfig,
        folder: RecordingFolder,
        rules: Sequence[Instrument],
        *,
        wall_us: Callable[[], int],
        rng: random.Random,
        ids: Iterator[str],
        on_note: OnNote,
        address: AddressBudget,
    ) -> None:
        self.config = config
        self.counts = RecorderCounts()
        self._folder = folder
        self._rules = tuple(rules)
        self._wall_us = wall_us
        self._on_note = on_note
        self._state = KeptState()
        self._rows: list[bytes] = []
        self._gathered = 0
        self._due = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)
        self._rotate_at_us = 0
        gate = DialGate(config.policy, rng, address=address)
        self._lines = [_Line(topics, self, gate, rng, ids) for topics in _shares(config.topics)]

    @property
    def is_up(self) -> bool:
        """True while every topic is subscribed."""
        return all(line.is_up for line in self._lines)

    async def run(self, stopped: asyncio.Event) -> None:
        """Record until ``stopped`` is set.

        Raises:
            Rejected: the venue refuses every topic.
            StoreFailed: the disk takes no more.
        """
        self._folder.begin(self._wall_us())
        self._rows = self._opening()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(line.run()) for line in self._lines]
                tasks.append(group.create_task(self._write_on()))
                tasks.append(group.create_task(self._watch_silence()))
                await stopped.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self._finish("stopped" if stopped.is_set() else "failed")

    # From the lines

    def frame(self, frame: Frame) -> tuple[int, int] | None:
        """Keep a frame; return the numbers between which frames of its book are missing, if any."""
        self.counts.frames += 1
        self.counts.bytes += len(frame.text)
        self._gather(frame_row(self._wall_us(), frame.text))
        try:
            return self._state.apply(frame.topic, frame.text)
        except BadInput as error:
            self.bad(str(error))
            return None

    def mark(self, mark: Mark) -> None:
        """Keep a mark."""
        self._gather(mark_row(self._wall_us(), mark))

    def lost(self, topics: Sequence[str], reason: str) -> None:
        """Mark that nothing is received of ``topics`` any more."""
        self._state.forget(topics)
        self.counts.gaps += 1
        self.mark(Lost(tuple(topics), reason))
        self._on_note("record_gap", {"topics": len(topics), "reason": reason})

    def bad(self, reason: str) -> None:
        """Count a message that cannot be read; the 1st, 2nd, 4th, 8th is told."""
        self.counts.bad_messages += 1
        if self.counts.bad_messages.bit_count() == 1:
            self._on_note("record_bad_message", {"reason": reason, "so_far": self.counts.bad_messages})

    def note(self, event: str, facts: dict[str, object]) -> None:
        """Pass a note on."""
        self._on_note(event, facts)

    def _gather(self, row: bytes) -> None:
        self._rows.append(row)
        self._gathered += len(row)
        if self._gathered >= _BLOCK_BYTES:
            self._due.set()
        if self._gathered > _GATHERED_BYTES_MAX:
            raise StoreFailed(f"{self._folder.path}: the disk is too slow for these topics; record fewer")

    # To the disk

    async def _write_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(FLUSH_S):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            rows, is_over = self._take(), self._folder.is_full or self._wall_us() >= self._rotate_at_us
            if is_over:  # the rows from here on belong to the next file
                self._rows = self._opening()
            loop = asyncio.get_running_loop()
            # What has been taken must be stored, also if this task is cancelled before the thread begins.
            await asyncio.shield(loop.run_in_executor(self._thread, self._store, rows, is_over))

    def _take(self) -> bytes:
        rows, self._rows, self._gathered = self._rows, [], 0
        return b"".join(rows)

    def _store(self, rows: bytes, is_over: bool = False) -> None:
        if rows:
            self._folder.store(rows)
        if is_over:
            self._folder.begin(self._wall_us())

    def _opening(self) -> list[bytes]:
        """Return the first rows of a file: what it is, the rules, and the state that later frames change."""
        now_us = self._wall_us()
        self._rotate_at_us = now_us + self.config.rotate_ms * 1000
        self.counts.files += 1
        config = self.config
        begin = Begin(
            feed=config.feed,
            url=config.url,
            symbols=config.symbols,
            topics=config.topics,
            version=config.version,
            part=self.counts.files,
        )
        rows = [mark_row(now_us, begin)]
        if self._rules:
            rows.append(mark_row(now_us, Rules(self._rules)))
        rows += [state_row(now_us, snapshot) for snapshot in self._state.snapshots()]
        return rows

    def _finish(self, reason: str) -> None:
        """Write the last rows; a disk that failed before is not asked twice."""
        self.mark(End(reason))
        last = self._thread.submit(self._store, self._take())
        self._thread.shutdown()
        if reason == "stopped":
            last.result()

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(min(self.config.silence_ms / 4000.0, 5.0))
            now_s = asyncio.get_running_loop().time()
            for line in self._lines:
                line.watch_silence(now_s)


class _Line:
    """One websocket with its share of the topics."""

    def __init__(
        self,
        topics: Sequence[str],
        recorder: MarketRecorder,
        gate: DialGate,
        rng: random.Random,
        ids: Iterator[str],
    ) -> None:
        self._topics = list(topics)
        self._recorder = recorder
        self._ids = ids
        self._waiting: set[str] = set()
        self._refused: dict[str, int] = {}
        self._was_up = False
        self._heard_s = 0.0
        self._link: Link[RawMessage] = Link(
            recorder.config.url,
            self._start,
            on_value=self._value,
            on_up=lambda: None,
            on_down=self._down,
            rng=rng,
            policy=recorder.config.policy,
            gate=gate,
        )

    @property
    def is_up(self) -> bool:
        return self._was_up

    async def run(self) -> None:
        await self._link.run()

    def watch_silence(self, now_s: float) -> None:
        """Dial again if nothing at all has come for too long: tickers of a living market are never silent."""
        limit_s = self._recorder.config.silence_ms / 1000.0
        if self._was_up and now_s - self._heard_s > limit_s:
            self._link.reconnect(f"no frame for {limit_s:g} s")

    def _start(self, now_ms: float) -> tuple[FrameSession, list[str]]:
        config = self._recorder.config
        self._session = FrameSession(
            self._topics,
            ids=self._ids,
            patience=Patience(config.ping_ms, config.pong_timeout_ms, config.connect_timeout_ms),
        )
        self._waiting = set(self._topics)
        self._heard_s = now_ms / 1000.0
        return self._session, self._session.opened(now_ms)

    def _value(self, value: RawMessage, arrived_s: float) -> None:
        match value:
            case Frame():
                self._heard_s = arrived_s
                if (missed := self._recorder.frame(value)) is not None:
                    self._miss(value.topic, missed, arrived_s)
            case Subscribed(topics):
                self._acknowledged(topics)
            case SubscribeFailed(topics, reason):
                self._refuse(topics, reason)
            case BadMessage(reason):
                self._recorder.bad(reason)

    def _acknowledged(self, topics: Sequence[str]) -> None:
        self._recorder.mark(Back(tuple(topics)))
        self._waiting.difference_update(topics)
        for topic in topics:
            self._refused.pop(topic, None)
        if not self._waiting and not self._was_up:
            self._was_up = True
            self._recorder.note("record_up", {"topics": len(self._topics)})

    def _down(self, reason: str) -> None:
        if self._was_up or set(self._topics) - self._waiting:
            self._recorder.lost(self._topics, reason)
        elif self._link.dials <= 1:
            self._recorder.note("record_not_connected", {"url": self._link.url, "reason": reason})
        self._was_up = False
        self._waiting = set(self._topics)

    def _miss(self, topic: str, missed: tuple[int, int], now_s: float) -> None:
        """Subscribe a book anew whose frames are not complete: the answer is a whole one."""
        recorder = self._recorder
        recorder.counts.gaps += 1
        recorder.mark(Missed(topic, *missed))
        recorder.note("record_gap", {"topics": 1, "reason": f"{topic}: frames after {missed[0]} are missing"})
        self._session.renew([topic], now_s * 1000.0)

    def _refuse(self, topics: Sequence[str], reason: str) -> None:
        """Try refused topics again on a new connection; then record without them.

        Raises:
            Rejected: no topic is left.
        """
        for topic in topics:
            self._refused[topic] = self._refused.get(topic, 0) + 1
            if self._refused[topic] >= REFUSALS_MAX:
                self._topics.remove(topic)
                self._recorder.lost((topic,), f"refused: {reason}")
        if not self._topics:
            raise Rejected(f"{self._link.url}: {topics[0]} is refused: {reason}; name another --symbol")
        self._link.reconnect(f"{topics[0]}: {reason}")


def _shares(topics: Sequence[str]) -> list[list[str]]:
    """Spread the topics over as few connections as the venue's limit on topics allows."""
    found: list[list[str]] = [[]]
    characters = 0
    for topic in topics:
        needed = len(topic) + 3
        if found[-1] and (characters + needed > MAX_ARGS_CHARACTERS or len(found[-1]) >= _TOPICS_PER_LINK):
            found.append([])
            characters = 0
        found[-1].append(topic)
        characters += needed
    return found
