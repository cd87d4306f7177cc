"""Compiles a graph of operators to the flat tables that ``vm.advance`` runs.

There are two lanes. Lane 0 is the symbol's own stream; lane 1 is the second symbol's stream of a joined set.
An operator belongs to lane 1 if any of its inputs does, and its bars are counted there, because the second
stream can have gaps of its own.
"""

from typing import NamedTuple

import numpy as np

from bot.features import vm
from bot.features.ops import INPUTS, Input, Op, ordered

_OTHER = {f"other_{name}": vm.OTHER + i for i, name in enumerate(INPUTS[:5])}
_REGISTERS = {name: i for i, name in enumerate(INPUTS)} | _OTHER


class Program(NamedTuple):
    """The arguments of ``vm.advance`` that come from the definition, in order, and the size of the state."""

    table: vm.Table
    pars: vm.Floats
    rings: vm.Ints
    lane_ends: vm.Ints
    columns: vm.Ints
    lanes: int

    @property
    def state_size(self) -> int:
        """Number of floats of state per symbol."""
        return int(self.lane_ends[-1])


def lane_of(op: Op) -> int:
    """Return 1 for an operator that reads the second symbol's stream, else 0."""
    if isinstance(op, Input):
        return int(op.name in _OTHER)
    return max(lane_of(source) for source in op.inputs)


def compile_program(columns: tuple[Op, ...]) -> Program:
    """Lay out registers, rings and scalars of a program.

    A register whose past is read gets one ring, as long as its longest reader needs.
    """
    nodes = sorted((op for op in ordered(columns) if op.inputs), key=lambda op: (_depth(op), op.code))
    lanes = 1 + max(lane_of(op) for op in columns)
    registers: dict[Op, int] = {Input(name): register for name, register in _REGISTERS.items()}
    first = vm.OTHER + 5 * (lanes - 1)
    registers |= {op: first + i for i, op in enumerate(nodes)}
    rings, scalars, lane_ends = _layout(nodes, lanes)
    table = np.zeros((len(nodes), vm.FIELDS), vm.FIELD)
    for i, op in enumerate(nodes):
        sources = [registers[source] for source in op.inputs]
        source = op.inputs[0]
        ring, size = rings.get(source, (0, 1)) if op.reach else (0, 1)
        table[i, [vm.CODE, vm.OUT, vm.A, vm.B]] = op.code, registers[op], sources[0], sources[-1]
        table[i, [vm.LANE, vm.WARM]] = lane_of(op), max(source.warmup for source in op.inputs)
        table[i, [vm.LOOKBACK, vm.WINDOW, vm.STATE]] = op.lookback, op.window, scalars[op]
        table[i, [vm.RING, vm.MASK, vm.RING_LANE]] = ring, size - 1, lane_of(source)
    ring_rows = [(registers[op], offset, size - 1, lane_of(op)) for op, (offset, size) in rings.items()]
    return Program(
        table=table,
        pars=np.array([op.constants for op in nodes]).reshape(-1, 2),
        rings=np.array(ring_rows, np.int64).reshape(-1, vm.RING_FIELDS),
        lane_ends=lane_ends,
        columns=np.array([registers[op] for op in columns], np.int64),
        lanes=lanes,
    )


def _depth(op: Op) -> int:
    return 1 + max((_depth(source) for source in op.inputs), default=-1)


def _layout(nodes: list[Op], lanes: int) -> tuple[dict[Op, tuple[int, int]], dict[Op, int], vm.Ints]:
    """Place rings (offset, size) and scalars, lane by lane. Ring sizes are powers of two, for index masks."""
    reach: dict[Op, int] = {}
    for op in nodes:
        if op.reach:
            reach[op.inputs[0]] = max(op.reach, reach.get(op.inputs[0], 0))
    rings: dict[Op, tuple[int, int]] = {}
    scalars: dict[Op, int] = {}
    ends, offset = [], 0
    for lane in range(lanes):
        for op, bars in reach.items():
            if lane_of(op) == lane:
                rings[op] = (offset, 1 << (bars - 1).bit_length())
                offset += rings[op][1]
        for op in nodes:
            if lane_of(op) == lane:
                scalars[op] = offset
                offset += op.scalars
        ends.append(offset)
    return rings, scalars, np.array(ends, np.int64)
