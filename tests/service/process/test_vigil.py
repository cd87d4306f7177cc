import pytest

from bot.adapters.state.alive import Sign
from bot.service.process.vigil import DEAD_AFTER_S, Life, Vigil


def beat(number: int) -> Sign:
    return Sign(4_242, number)


def test_nobody_has_run_here() -> None:
    assert Vigil(20.0).look(None, 0.0, process_exists=False) is Life.NONE


def test_a_daemon_whose_sign_changes_lives_however_its_clock_is_set() -> None:
    vigil = Vigil(20.0)
    assert vigil.look(beat(1_000), 0.0, process_exists=True) is Life.UNCERTAIN  # the sign may be an old one
    for second, clock_ns in enumerate([2_000, 9_999_999_999_999, 5, 6, 7], 1):
        assert vigil.look(beat(clock_ns), float(second), process_exists=True) is Life.LIVES


@pytest.mark.parametrize(
    ("exists", "after_s", "verdict"), [(True, 20.0, Life.FROZEN), (False, 3.0, Life.DEAD)]
)
def test_silence_is_judged_after_its_time_and_not_before(exists: bool, after_s: float, verdict: Life) -> None:
    vigil = Vigil(20.0)
    vigil.look(beat(1), 0.0, process_exists=True)
    vigil.look(beat(2), 1.0, process_exists=True)
    assert vigil.look(beat(2), 1.0 + after_s - 0.001, process_exists=exists) is Life.UNCERTAIN
    assert vigil.look(beat(2), 1.0 + after_s, process_exists=exists) is verdict


def test_a_process_that_cannot_be_seen_but_gives_signs_lives() -> None:
    """A daemon in another container."""
    vigil = Vigil(20.0)
    for second in range(100):
        life = vigil.look(beat(second), float(second), process_exists=False)
        assert life is (Life.LIVES if second else Life.UNCERTAIN)


def test_a_sign_that_was_old_when_the_watch_began_is_judged_after_the_same_time() -> None:
    vigil = Vigil(20.0)
    assert vigil.look(beat(1), 500.0, process_exists=False) is Life.UNCERTAIN
    assert vigil.look(beat(1), 500.0 + DEAD_AFTER_S, process_exists=False) is Life.DEAD


def test_a_frozen_daemon_that_goes_on_lives_again() -> None:
    vigil = Vigil(5.0)
    vigil.look(beat(1), 0.0, process_exists=True)
    assert vigil.look(beat(1), 5.0, process_exists=True) is Life.FROZEN
    assert vigil.look(beat(2), 6.0, process_exists=True) is Life.LIVES


def test_a_sign_that_was_removed_is_silence() -> None:
    vigil = Vigil(5.0)
    vigil.look(beat(1), 0.0, process_exists=True)
    assert vigil.look(None, 3.0, process_exists=False) is Life.DEAD
