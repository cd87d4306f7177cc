"""What the bot has kept where no power cut can take it, read as plain JSON lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Intended:
    """An order as the bot kept it before it left."""

    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal | None
    reduce_only: bool
    decided_ms: int


@dataclass
class Kept:
    """The durable facts so far. ``orders``: every order that was ever kept, by id."""

    orders: dict[str, Intended] = field(default_factory=dict)
    _tails: dict[Path, bytes] = field(default_factory=dict)

    def add(self, path: Path, data: bytes) -> None:
        """Take bytes that have become durable."""
        if path.suffix != ".jsonl":
            return
        *lines, self._tails[path] = (self._tails.get(path, b"") + data).split(b"\n")
        for line in lines:
            if b'"PlaceOrder"' in line:
                for order_id, intent in placed(json_of(line)):
                    self.orders[order_id] = intended(order_id, intent)


def json_of(line: bytes) -> Json:
    """Return the JSON of a line ``crc32 number length json``."""
    entry = json.loads(line.split(b" ", 3)[3])
    assert isinstance(entry, dict)
    return entry


def placed(entry: Json) -> Iterator[tuple[str, Json]]:
    """Yield the orders that an entry places: their ids and their approved intents."""
    for effect in entry.get("effects", ()):
        if effect["type"] == "PlaceOrder":
            yield effect["order_id"], effect["approved"]["intent"]


def entries(place: Path) -> Iterator[Json]:
    """Yield every entry of the journals in a state directory, oldest first; ``segment`` says where it stands.

    A chain of checksums is not checked here, only that each line has its own: the journal's own reader and
    its tests do that.
    """
    for path in sorted(place.glob("journal/*/*.jsonl")):
        *lines, _ = path.read_bytes().split(b"\n")
        for line in lines:
            yield {"segment": int(path.stem), **json_of(line)}


def intended(order_id: str, intent: Json) -> Intended:
    """Read an order."""
    price = intent["price"]
    return Intended(
        order_id,
        intent["symbol"],
        intent["side"],
        Decimal(intent["qty"]),
        None if price is None else Decimal(price),
        intent["reduce_only"],
        intent["decided_ms"],
    )
