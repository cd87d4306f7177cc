"""What a venue answered to each act: codes and shapes. No value of the account, so it may be published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.app.venue_check.shapes import Shape, differences, merge, shape_of
from bot.bybit.codes import MEANINGS, printable


@dataclass
class Act:
    """One act. ``code`` None: it has no retCode, such as a wait for a push; then ``seen`` says if it came."""

    name: str
    code: int | None = None
    status: int | None = None
    text: str = ""
    seen: bool | None = None
    shape: Shape = field(default_factory=dict)

    def told(self) -> dict[str, object]:
        """Return the step as JSON values."""
        known = {"name": self.name, "code": self.code, "http": self.status, "text": self.text or None}
        shape = {path: sorted(kinds) for path, kinds in sorted(self.shape.items())}
        return {k: v for k, v in {**known, "seen": self.seen, "shape": shape}.items() if v not in (None, {})}


@dataclass
class Transcript:
    """The steps of one run in their order, and the shapes of what the sockets pushed, by topic."""

    steps: dict[str, Act] = field(default_factory=dict)
    pushes: dict[str, Shape] = field(default_factory=dict)

    def add(self, step: Act) -> None:
        """Note a step; one of the same name that was repeated counts with its last answer."""
        self.steps[step.name] = step

    def pushed(self, text: bytes) -> None:
        """Note the shape of one message of a socket."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, Mapping):
            merge(self.pushes.setdefault("unreadable", {}), {"": {"text"}})
            return
        name = str(message.get("topic") or message.get("op") or "unnamed")
        merge(self.pushes.setdefault(printable(name, 40), {}), shape_of(message))

    def told(self) -> dict[str, object]:
        """Return everything as JSON values."""
        return {
            "steps": [step.told() for step in self.steps.values()],
            "pushes": {
                topic: {path: sorted(kinds) for path, kinds in sorted(shape.items())}
                for topic, shape in sorted(self.pushes.items())
            },
        }


def compare(found: Transcript, expected: Transcript) -> list[str]:
    """Return one line for each answer that differs from what is expected."""
    lines = []
    for name, wanted in expected.steps.items():
        step = found.steps.get(name)
        if step is None:
            lines.append(f"{name}: was not reached")
            continue
        if (step.code, step.status) != (wanted.code, wanted.status):
            lines.append(f"{name}: {_answer(step)}, expected {_answer(wanted)}")
        if step.seen != wanted.seen:
            lines.append(f"{name}: {'seen' if step.seen else 'not seen'}, expected the opposite")
        lines += [f"{name}: {line}" for line in differences(step.shape, wanted.shape)]
    for topic in sorted({*found.pushes, *expected.pushes}):
        if topic not in found.pushes:
            lines.append(f"pushes of {topic}: none, expected some")
        elif topic not in expected.pushes:
            lines.append(f"pushes of {topic}: some, expected none")
        else:
            wrong = differences(found.pushes[topic], expected.pushes[topic])
            lines += [f"pushes of {topic}: {line}" for line in wrong]
    return lines


def _answer(step: Act) -> str:
    if step.status not in (None, 200):
        return f"HTTP {step.status}"
    if step.code is None:
        return step.text or "no answer"
    known = MEANINGS.get(step.code)
    return f"code {step.code}" + (f" ({known.words})" if known is not None and step.code else "")
