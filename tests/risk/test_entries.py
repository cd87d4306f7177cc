import pytest

from bot.risk.entries import EntryBlock, entry_block


@pytest.mark.parametrize(
    ("state", "halt_file", "block"),
    [
        ("active", False, None),
        ("reducing", False, EntryBlock.REDUCING),
        ("halted", False, EntryBlock.HALTED),
        ("active", True, EntryBlock.HALT_FILE),
        ("reducing", True, EntryBlock.HALT_FILE),
        ("halted", True, EntryBlock.HALT_FILE),
    ],
)
def test_an_entry_leaves_only_while_nothing_holds_it_back(state, halt_file, block) -> None:
    assert entry_block(state, halt_file=halt_file) is block
