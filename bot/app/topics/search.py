"""``bot help search``: how a search of parameters is written, and each figure of its judgement."""

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import first_words, members


def page() -> Page:
    """Return the forms of an axis, what is kept, and what the judgement means."""
    from bot.research.search.selection import Selection  # loads numpy

    return Page(
        "search",
        "`bot sweep` tries many parameters of one strategy. The more are tried, the better the best one "
        "looks, with skill or without.",
        [
            Section("What is tried", _AXES),
            Section("What is kept", _KEPT),
            Section("A cluster", _CLUSTER),
            Section("What it costs", _COST),
            Section("A walk-forward", _WALK),
            Section("What is shown", _SHOWN),
            Section("The judgement", list(members(Selection)), first_words(Selection)),
        ],
    )


_AXES = [
    Entry("--grid fast=6,12,24", "These values, written as `--param` takes them."),
    Entry("--grid fast=6..24:6", "6, 12, 18 and 24: both ends, and a step (1 if none is given)."),
    Entry(
        "--grid stop=0.5..5 --trials N",
        "A range, for --sampler random and tpe: without a step, and with a decimal point in one of its "
        "ends (1.0..5). It has a thousand equal steps.",
    ),
    Entry(
        "--grid bars=12..288:log --trials N",
        "A range of equal ratios: 20 to 40 is drawn as often as 100 to 200. Whole ends: whole numbers. "
        'In Python: {"stop": "0.5..5", "bars": "12..288:log"}.',
    ),
    Entry("--trials N", "Draws N different points of the grid, all with the same chance, by --search-seed."),
    Entry(
        "--sampler tpe --trials N",
        "Tries N different points, later ones near those that were good (Optuna; "
        "pip install 'bot[tpe]'). Points are asked for in batches of eight, on any number of workers. "
        "Such trials are not independent draws: the deflated Sharpe ratio, which counts all of them, can "
        "be too good.",
    ),
    Entry("--objective NAME", "A figure of `bot backtest --json`, to be large; -NAME: to be small."),
]
_KEPT = [
    Entry(
        "state_dir/sweeps/*.jsonl",
        "One line a trial, on the disk when it ends. `--resume` goes on with a search that was cut "
        "off; other data, settings, code, axes or seed are another search. Delete no file: trials "
        "that are forgotten make the next search look better than it is.",
    ),
    Entry(
        "state_dir/screens/*.jsonl",
        "The points of each `bot.screen`. All rules count as one strategy: what other screens compared "
        "on the same symbols makes the next best one less believed, and so do the parameters that sweeps "
        "and walk-forwards of any strategy tried there. A sweep or walk-forward counts its own strategy "
        "alone: no screen, and no other strategy.",
    ),
    Entry(
        "results_sha256",
        "Names the fills of all trials. It is the same on any number of workers.",
    ),
]
_CLUSTER = [
    Entry(
        "dask scheduler, dask worker tcp://HOST:8786 --nthreads 1",
        "One scheduler; a worker for each core of each machine, with the versions of this program, of "
        "Python and of packages that are here (`scripts/install cluster`): others are refused by name. "
        "Dask runs what it is sent, and so does this program with what comes back: use a network that "
        "you trust, or `tls://` with Dask's certificates.",
    ),
    Entry(
        "--cluster tcp://HOST:8786",
        "Its workers run the trials. Their log stays here, so `--resume` goes on there, here, "
        "or elsewhere. A trial whose worker dies runs again. With no worker left, the search waits ten "
        "minutes for one, then ends with exit code 1.",
    ),
    Entry(
        "candles",
        "Read once a worker: from the same path, if all workers see files of the same size there "
        "(storage that they share), else sent, up to 0.5 GB. The bars are compared by their hash.",
    ),
    Entry(
        "settings, strategy",
        "Settings are sent without secrets. A strategy file (path/file.py:Class) is sent; a module "
        "(package.module:Class) must be installed there with the same code.",
    ),
]
_COST = [
    Entry(
        "bot sweep ... --plan",
        "Runs one trial on about 20,000 bars of the data and says what the whole search takes: CPU, time "
        "on the workers at hand, memory of a worker, size of the log, and how that was reckoned.",
    ),
    Entry(
        "bot walkforward ... --plan",
        "The same for all training spans and tests, each with the bars of its warm-up.",
    ),
    Entry(
        "bot sweep ... --plan 1000x1826",
        "The same for 1,000 symbols and five years of bars of this length: a month of one symbol as "
        "`--data` tells what the search will take before the data are fetched. Symbols that trade on one "
        "account need a slice of several.",
    ),
    Entry(
        "1,000 symbols, five years of 5m bars, 500 trials",
        "`ema_cross` took 8.4 µs of CPU a bar on a core of a shared server: 610 hours of CPU, 10 hours "
        "on 64 cores. On one account each worker holds all 526 million bars: 213 GB. A search for each "
        "symbol, one after the other on the same cluster, takes the same CPU and 0.3 GB a worker. The "
        "files take up to 41 bytes a bar on the storage that all share (22 GB), the log of a search up "
        "to 20 MB.",
    ),
]
_WALK = [
    Entry(
        "--train 90d --test 30d",
        "The best trial of 90 days trades the 30 days that follow; then both move on by 30 days. Tests "
        "begin at midnight UTC and follow each other without a hole.",
    ),
    Entry("--growing", "Every training span begins with the first bar."),
    Entry("--purge, --embargo", "Time left out between training and test; both are added."),
    Entry(
        "efficiency",
        "Mean figure of the tests by the mean figure of the chosen trials in training. 1: nothing is "
        "lost. 0: all of it was luck. Null if the chosen trials lost in training.",
    ),
    Entry(
        "a model of your own",
        "Give `bot.unfitted` in Python, and each training span fits a new one: `bot help own-models`.",
    ),
    Entry("same_choice_frac", "Steps that chose what the step before had chosen."),
    Entry(
        "overfit_probability",
        "How often the best trial of one half of a step's training days is in the worse half of the "
        "trials on the other ones; the mean of all steps. 0.5 is chance. Null below 20 days or two "
        "trials.",
    ),
    Entry(
        "deflated_sharpe",
        "Of the joined tests. Each other walk-forward and sweep of the strategy on these symbols counts "
        "as one trial more.",
    ),
]
_SHOWN = [
    Entry(
        "--report FILE.html",
        "One page. First the figures of the judgement, each with a sentence that says what it means; "
        "then the best trial beside buy-and-hold, what the choice of each half of the days earned in "
        "the other half, heat maps of each pair of parameters (the median of the trials, so that a "
        "lucky one does not shine alone), all trials as lines over their parameters, and a table whose "
        "columns are sorted and filtered. That of a walk-forward shows the joined tests beside buy and "
        "hold, what was chosen along time, and training beside test and the probability of overfitting "
        "in each step.",
    ),
    Entry(
        "in Python",
        "The same figures and the same `results_sha256`. Processes import the class, so it stands in a "
        "file; a class of a notebook is searched in one process, and a warning says so. On a terminal "
        "and in a notebook a line shows the best so far and the time left (`progress=False` turns it "
        "off).",
    ),
]
