"""Commands of the operator: each goes through the inbox, and is done once the engine has taken it."""

import asyncio
from typing import Literal

from bot.adapters.net.inbox import Inbox
from bot.domain.errors import BadInput, BotError
from bot.domain.messages import Command
from bot.service.control import Asked
from bot.service.daemon.parts import Parts

_KILL_S = 10.0


class Operator:
    """Carries commands out.

    Args:
        parts: of the daemon.
        inbox: where its engine takes events from.
    """

    def __init__(self, parts: Parts, inbox: Inbox) -> None:
        self._parts = parts
        self._inbox = inbox
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def give(
        self, what: Literal["pause", "resume", "flatten", "halt", "unhalt", "close"], asked: Asked
    ) -> None:
        """Put a command in the inbox; return once the engine has taken it."""
        about = {"symbol": asked.symbol} if what == "close" else {}
        self._parts.log.info("command", what=what, by=asked.by, **about)
        event = Command(self._parts.clock.now_ms(), what, about.get("symbol", ""), asked.by)
        taken = self._waiting[id(event)] = asyncio.get_running_loop().create_future()
        self._inbox.put(event)
        await taken

    def taken(self, event: Command) -> None:
        """Note that the engine has taken a command."""
        taken = self._waiting.pop(id(event), None)
        if taken is not None and not taken.done():
            taken.set_result(None)

    async def close(self, asked: Asked) -> None:
        """Close one position.

        Raises:
            BadInput: it is not there; with the symbols that hold one.
        """
        symbol, held = asked.symbol, [sym.symbol for sym in self._parts.engine.state.open]
        if symbol not in held:
            raise BadInput(
                f"no position of ours in {symbol or 'no symbol'}; open are {', '.join(held) or 'none'}"
            )
        await self.give("close", asked)

    async def unhalt(self, asked: Asked) -> None:
        """Lift halts, stopped strategies and the halt file; forget the starts of before.

        Raises:
            BotError: the disk does not take it; the bot stays halted.
        """
        try:
            self._parts.halt.clear()
        except OSError as error:
            why = self._parts.redact(str(error))
            raise BotError(f"the halt stays: {why}; mend the disk, then `bot unhalt` again") from error
        self._parts.keeper.forgive(self._parts.clock.now_ms())
        await self.give("unhalt", asked)

    async def kill(self, asked: Asked) -> list[str]:
        """Halt for good; return the ids of entries that are still live ten seconds later."""
        try:
            self._parts.halt.set()
        except OSError as error:  # the disk is not what a halt waits for
            why = self._parts.redact(str(error))
            self._parts.log.error("halt_not_kept", reason=why, meaning="halted until this process ends")
        await self.give("halt", asked)
        return await self._survivors()

    async def _survivors(self) -> list[str]:
        live = self._parts.engine.state.orders.live
        if self._parts.clear is not None:
            return list(await self._parts.clear())
        try:
            async with asyncio.timeout(_KILL_S):
                while any(not order.intent.reduce_only for order in live.values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        return [order.order_id for order in live.values() if not order.intent.reduce_only]
