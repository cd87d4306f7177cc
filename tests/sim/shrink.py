"""Find the happenings that a failure needs: drop others while the same invariant still breaks."""

from tests.sim.story import Story
from tests.sim.world import Outcome, play


def shrink(story: Story, outcome: Outcome, *, most: int) -> Story:
    """Return a shorter story that breaks the same invariant; ``most`` runs are tried.

    Halves are dropped first, then smaller parts, so a long story shrinks in few runs.
    """
    number = outcome.violations[0].number
    runs = 0
    size = max(1, len(story.happenings) // 2)
    while size:
        at = 0
        while at < len(story.happenings) and runs < most:
            kept = story.happenings[:at] + story.happenings[at + size :]
            shorter = story.with_happenings(kept)
            runs += 1
            if any(each.number == number for each in play(shorter, most=5).violations):
                story = shorter
            else:
                at += size
        size //= 2
    return story
