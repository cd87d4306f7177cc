"""The collector runs when it is asked to, and is as before afterwards."""

import gc
import weakref

import pytest

from bot.service.process.quiet import Collector


class Node:
    """In a circle with itself."""

    def __init__(self) -> None:
        self.me = self


def test_what_was_there_is_frozen_and_circles_made_later_go_at_the_next_rest() -> None:
    before, collector = gc.get_threshold(), Collector()
    collector.settle(0.0)
    try:
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() != before
        gone = weakref.ref(Node())
        assert gone() is not None
        collector.rest(1.0)
        assert gone() is None
    finally:
        collector.end()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_old_circles_go_once_a_minute() -> None:
    collector = Collector()
    collector.settle(0.0)
    try:
        node = Node()
        gone = weakref.ref(node)
        for second in (1.0, 2.0):  # it is old now
            collector.rest(second)
        del node
        collector.rest(3.0)
        assert gone() is not None
        collector.rest(61.0)
        assert gone() is None
    finally:
        collector.end()


@pytest.mark.fault(70)
def test_circles_that_live_while_the_feed_comes_back_again_and_again_do_not_stay() -> None:
    collector = Collector()
    try:
        for second in (0.0, 1.0):  # the start, and the end of the warm-up
            collector.settle(second)
        gone = []
        for second in range(2, 12):
            connection = Node()
            gone.append(weakref.ref(connection))
            collector.settle(float(second))
            del connection
        collector.rest(100.0)
        assert [each() for each in gone] == [None] * 10
    finally:
        collector.end()


def test_a_circle_that_ended_before_the_warm_up_did_is_not_frozen() -> None:
    collector = Collector()
    collector.settle(0.0)
    try:
        gone = weakref.ref(Node())
        collector.settle(1.0)
        assert gone() is None
    finally:
        collector.end()


def test_before_it_settles_it_does_nothing_and_after_its_end_all_is_as_before() -> None:
    before, collector = gc.get_threshold(), Collector()
    collector.rest(1e9)
    collector.end()
    collector.settle(0.0)
    collector.settle(1.0)
    collector.end()
    assert gc.get_threshold() == before
