"""The parts of the simulation: time, processes that vanish, a network and a disk that lose things."""

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from bot.simulator.faults.plan import FaultPlan, parse_fault
from bot.simulator.faults.planned import PlannedFaults
from tests.sim.checks.wire import Line
from tests.sim.disk import SimDisk
from tests.sim.loop import Deadlock, Process, SimLoop
from tests.sim.net import Network


def run(loop: SimLoop, work: Coroutine[Any, Any, Any]) -> Any:
    loop.net = Network(loop, "net")
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.bury()
        asyncio.set_event_loop(None)


def test_time_moves_only_to_the_next_timer() -> None:
    loop = SimLoop()
    run(loop, asyncio.sleep(86_400.0))
    assert loop.now_s == 86_400.0
    assert loop.turns < 10


def test_a_program_that_would_hang_for_ever_is_found() -> None:
    loop = SimLoop()
    with pytest.raises(Deadlock):
        run(loop, asyncio.Event().wait())


def test_a_process_that_is_killed_runs_no_finally_block() -> None:
    loop, said = SimLoop(), list[str]()

    async def work() -> None:
        try:
            said.append("began")
            await asyncio.sleep(10.0)
            said.append("went on")
        finally:
            said.append("finally")

    async def story() -> None:
        process = Process("bot")
        process.start(loop, work())
        await asyncio.sleep(1.0)
        loop.kill(process)
        await asyncio.sleep(60.0)
        assert said == ["began"]

    run(loop, story())


@pytest.mark.parametrize(("suspended", "slept_s"), [(False, 100.0), (True, 10.0)])
def test_a_frozen_process_stands_still_and_a_suspended_one_does_not_see_it(
    suspended: bool, slept_s: float
) -> None:
    loop, seen = SimLoop(), list[float]()

    async def work() -> None:
        began_s = loop.time()
        await asyncio.sleep(10.0)
        seen.append(loop.time() - began_s)

    async def story() -> None:
        process = Process("bot")
        process.start(loop, work())
        await asyncio.sleep(0.0)
        loop.freeze(process, 100.0, suspended=suspended)
        await asyncio.sleep(99.0)
        assert not seen
        await asyncio.sleep(20.0)

    run(loop, story())
    assert seen == [pytest.approx(slept_s)]


def test_bytes_keep_their_order_and_a_lost_peer_is_heard_of_unless_its_power_went() -> None:
    loop, heard = SimLoop(), list[object]()

    class Server(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            heard.append(data)

        def connection_lost(self, exc: Exception | None) -> None:
            heard.append(type(exc))

    async def dial(said: range) -> None:
        transport, _ = await loop.create_connection(asyncio.Protocol, "there", 1)
        for number in said:
            transport.write(b"%d" % number)
        await asyncio.Event().wait()

    async def story() -> None:
        await loop.create_server(Server, "there", 1)
        for silent in (False, True):
            process = Process("bot")
            process.start(loop, dial(range(50)))
            await asyncio.sleep(5.0)
            loop.kill(process)
            loop.net.end(process, silent=silent)
            await asyncio.sleep(5.0)
            assert heard[:50] == [b"%d" % number for number in range(50)]
            assert heard[50:] == ([] if silent else [ConnectionResetError])
            heard.clear()

    run(loop, story())


def test_a_power_cut_takes_only_what_was_not_synced(tmp_path: Path) -> None:
    left = set()
    for seed in range(40):
        place = tmp_path / str(seed)
        place.mkdir()
        disk, path = SimDisk(place, f"{seed}"), place / "journal"
        file = disk.append(path)
        file.write(b"kept")
        file.sync()
        disk.sync_directory(place)
        file.write(b" lost")
        disk.power_cut()
        left.add(path.read_bytes().rstrip(b"\0"))
    assert all(body.startswith(b"kept") and b"kept lost".startswith(body) for body in left)
    assert {b"kept", b"kept lost"} < left


def test_a_name_that_was_not_synced_may_be_gone_and_an_old_file_back(tmp_path: Path) -> None:
    left = set()
    for seed in range(40):
        place = tmp_path / str(seed)
        place.mkdir()
        disk, path = SimDisk(place, f"{seed}"), place / "state"
        for body, synced in ((b"old", True), (b"new", False)):
            file = disk.append(place / "state.new")
            file.write(body)
            file.sync()
            disk.replace(place / "state.new", path)
            if synced:
                disk.sync_directory(place)
        disk.power_cut()
        left.add(path.read_bytes())
    assert left == {b"old", b"new"}


def test_an_exchange_wakes_for_its_faults_and_not_between_them() -> None:
    loop = SimLoop()
    begun: list[float] = []

    class There:
        def now_ms(self) -> int:
            return 0

        def begin(self, fault: object) -> None:
            begun.append(loop.now_s)

        def end(self, fault: object) -> None:
            begun.append(loop.now_s)

    async def story() -> None:
        planned = PlannedFaults(FaultPlan(), loop.time)
        planned.world = There()
        running = asyncio.create_task(planned.run())
        await asyncio.sleep(100.0)
        planned.post(parse_fault({"kind": "skew", "skew_ms": 5, "from_s": 50.0, "for_s": 1000.0}))
        await asyncio.sleep(86_400.0)
        running.cancel()

    run(loop, story())
    assert begun == [150.0, 1150.0]
    assert loop.turns < 50


def test_frames_of_a_client_are_read_from_their_bytes() -> None:
    line, rng = Line(is_client=True), random.Random(1)
    mask = bytes(rng.randrange(256) for _ in range(4))
    text = b'{"op":"order.create","args":[{"qty":"1"}]}'
    frame = bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))
    upgrade = b"GET /v5/trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
    said = [each for at in range(len(upgrade + frame)) for each in line.feed((upgrade + frame)[at : at + 1])]
    assert [each.what for each in said] == ["GET /v5/trade", "order.create"]
    assert said[1].body["args"] == [{"qty": "1"}]
