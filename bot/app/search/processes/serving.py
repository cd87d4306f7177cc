"""A worker process: it makes the plan once, then runs the trials that it is given."""

from multiprocessing.connection import Connection

from bot.app.search.trial import Job, Outcome, Recipe, attempt


def serve(number: int) -> None:
    """Be a worker on this file descriptor until the line ends."""
    line: Connection[tuple[Outcome | None, str | None], Job | Recipe] = Connection(number)
    try:
        recipe = line.recv()
        assert isinstance(recipe, Recipe)
        plan = recipe.plan()
        while True:
            job = line.recv()
            assert isinstance(job, Job)
            line.send((attempt(plan, job), None))
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        line.send((None, f"{type(error).__name__}: {error}"))
