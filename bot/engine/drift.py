"""Drift: whether the market still looks like the training data, and whether forecasts still come true.

Once an hour the watch takes each symbol's feature row, and its forecast unless an earlier one is still
pending. When the model's longer horizon is over, by default an hour later, the forecast has matured: the
realised variance and the return of this span are known. Three measures, over all symbols, in which an hour
counts half after ``half_life_days``:

::

    inputs       mean over features, but not those of the calendar, of the population stability index
                 against the training rows
    volatility   QLIKE of matured forecasts minus that of ``har_hour``, fitted on the training rows
    bands        largest distance of the share of outcomes inside the 50, 80 and 95 % bands from these levels

The default bounds are above all that ordinary months showed. They were chosen with an older model, on all
of its features, from January 2025 to February 2026, each symbol alone: ``inputs`` up to 0.85 (the first week
after a start; later 0.53), ``volatility`` up to 0.002, ``bands`` up to 0.12; seven symbols together: 0.17,
-0.03 and 0.07. A later one (``performer-5m-judged``, then with 64 random features), without the features of
the calendar, from late October 2025 to February 2026, BTC, ETH, SOL and BNB each alone: up to 0.61, -0.053
and 0.11.

They are bounds for a forecast an hour. Forecasts of a day mature once a day, and the measures of few are
noisy: with fewer than ``min_days`` of hourly ones the bounds of ``volatility`` and ``bands`` grow with the
square root of what is missing. ``inputs`` needs ``min_days`` of rows on which all features were warm.

A model of the user's own is measured by what it forecasts: ``inputs`` always, ``volatility`` if it forecasts
the variance; it promises no bands. The bounds say nothing about such a model, so its drift is only told.

A measure beyond its bound is named in ``beyond`` until it is back below ``recover_frac`` of the bound. No
clock and no chance: the same bars and forecasts give the same measures.
"""

import hashlib
from collections.abc import Collection, Sequence
from math import isfinite, log, nan, sqrt

import msgspec
import numpy as np

from bot.domain.errors import BadInput
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import HOUR_MS, Bar, Forecast
from bot.model.config import RETURN_CLIP, RV_MIN
from bot.model.drift import BINS, HAR_HOURS, DriftBounds, DriftReference, bins_of, psi, qlike
from bot.ports import Floats

LEVELS = (0.5, 0.8, 0.95)
"""Shares of outcomes that the bands should hold."""
_NORMAL = (0.6744897501960817, 1.2815515655446004, 1.959963984540054)
"""Half-widths of these bands of the normal distribution."""
_STUDENT = (0.7406970841126825, 1.5332062740589438, 2.7764451051977987)
"""The same of Student's t with 4 degrees of freedom."""
_WEEK = HAR_HOURS[-1]
_AGO = np.arange(_WEEK)
_LAST = np.array(HAR_HOURS) - 1
_KNOWN_FRAC = 0.75
"""Hours of a term of HAR that must be known; a hole leaves some out."""
_HOURS, _MATURED, _BOTH, _QLIKE, _QLIKE_HAR, _INSIDE = range(6)
"""Places of sums: hours; forecasts matured; those with a HAR forecast and both losses; outcomes inside."""
_SUMS = _INSIDE + 2 * len(LEVELS)
_NOT_POSITIVE = _INSIDE
"""Of a model without bands, in their place: matured variances of 0 or less, which count as the smallest."""
_WORST = 5
"""Features that are named."""


class Band(msgspec.Struct, frozen=True):
    """The share of outcomes inside the band of ``level``: of the hour's variance, and of its return."""

    level: float
    volatility: float | None
    returns: float | None


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What the watch knows. None: too little evidence, or the manifest has no reference."""

    hours: float
    """Hours of evidence, recent ones in full."""
    matured: float
    """Matured forecasts of all symbols, recent ones in full."""
    psi: float | None = None
    worst: tuple[tuple[str, float], ...] = ()
    """The features with the largest index, and it."""
    qlike: float | None = None
    qlike_har: float | None = None
    bands: tuple[Band, ...] = ()
    band_gap_frac: float | None = None
    not_positive_frac: float | None = None
    """Of a model without bands: the share of its variances of 0 or less. One of them makes QLIKE huge."""

    @property
    def qlike_excess(self) -> float | None:
        """QLIKE of the model minus that of ``har_hour``; below 0 the model is better."""
        return None if self.qlike is None or self.qlike_har is None else self.qlike - self.qlike_har


class _Hour(msgspec.Struct):
    """One symbol since the last full hour, and the forecast that is pending. NaN: unknown."""

    next_ms: int = 0
    close: float = nan
    squares: float = 0.0
    bars: int = 0
    made_ms: int = 0
    """The last full hour that there is a close of."""
    made_close: float = nan
    forecast: Forecast | None = None
    har_rv: float = nan
    pending_ms: int = 0
    pending_squares: float = 0.0
    """Squared returns since the pending forecast was made."""
    is_pending: bool = False
    """A forecast is pending, and every bar since then was there; an older snapshot knows of none."""


class DriftRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a watch remembers; numeric state is raw little-endian bytes."""

    of: str
    """What it is measured against: another reference or half-life begins anew."""
    now_ms: int
    beyond: dict[str, str]
    symbols: tuple[bytes, ...]
    past: bytes
    counts: bytes
    sums: bytes


class DriftWatch:
    """Measures the drift of one model on ``symbols`` slots of bars of ``interval_ms``.

    ``reference`` None: the model has none, so inputs and HAR stay unknown; the bands need no reference.
    ``calendar`` are the places of features that read the clock alone; ``inputs`` leaves them out, because
    they cannot drift. ``has_bands`` False: the model forecasts no spread. Bars that do not fit into an hour
    are not measured.
    """

    def __init__(
        self,
        symbols: int,
        interval_ms: int,
        names: Sequence[str],
        reference: DriftReference | None,
        bounds: DriftBounds,
        horizons: Horizons = HOUR,
        *,
        calendar: Collection[int] = (),
        has_bands: bool = True,
    ) -> None:
        self.bounds = bounds
        self.reference = reference
        self.has_bands = has_bands
        self.beyond: dict[str, str] = {}
        """Measures beyond their bound, with the numbers at that moment."""
        self._names = names
        self._market = np.array([at for at in range(len(names)) if at not in calendar], np.int64)
        self._bars_an_hour = HOUR_MS // interval_ms if HOUR_MS % interval_ms == 0 else 0
        self._long_ms = horizons.long_ms
        variance, sd, _, ret, _, scale = horizons.columns
        self._judged = (variance, sd, ret, scale)
        self._least_matured = bounds.min_days * 24.0 / max(1, -(-horizons.long_ms // HOUR_MS))
        self._half_life_hours = bounds.half_life_days * 24.0
        self._of = _fingerprint(reference, bounds, horizons)
        self._begin(symbols)

    def _begin(self, symbols: int) -> None:
        self._now_ms = 0
        self._at = [_Hour() for _ in range(symbols)]
        self._past = np.full((symbols, _WEEK), nan)
        """Variance of each hour of the last week, by hour since 1970 modulo 168."""
        features = 0 if self.reference is None else len(self.reference.edges)
        self._counts = np.zeros((features, BINS))
        self._places = np.arange(features)
        self._sums = np.zeros(_SUMS)
        if self.reference is not None:
            self._edges, self._shares = (
                np.array(self.reference.edges).T.copy(),
                np.array(self.reference.shares),
            )

    def take(
        self, slots: Sequence[int], bars: Sequence[Bar], rows: Floats, forecasts: Sequence[Forecast | None]
    ) -> None:
        """Take one close: for each slot its bar, its features and its forecast; judge at a full hour."""
        for slot, bar, row, forecast in zip(slots, bars, rows, forecasts, strict=True):
            self._take(slot, bar, row, forecast)
        if bars and bars[0].close_ms == self._now_ms:
            self._judge()

    def _take(self, slot: int, bar: Bar, row: Floats, forecast: Forecast | None) -> None:
        at = self._at[slot]
        if bar.start_ms == at.next_ms:
            step = min(max(log(bar.close / at.close), -RETURN_CLIP), RETURN_CLIP)
            at.squares += step * step
            at.pending_squares += step * step
            at.bars += 1
        else:
            at.bars = -self._bars_an_hour  # the hour has a hole: it will not be whole
            at.is_pending = False
        at.close, at.next_ms = bar.close, bar.start_ms + bar.interval_ms
        on_hour = bool(self._bars_an_hour) and at.next_ms % HOUR_MS == 0
        if on_hour:
            self._pass_to(at.next_ms)
        if at.is_pending and at.next_ms == at.pending_ms + self._long_ms:
            self._mature(at)
        if on_hour:
            self._on_hour(slot, at, row, forecast)

    def measures(self) -> Measures:
        """Return the measures now."""
        hours, matured, both = self._sums[:_QLIKE].tolist()
        told = Measures(hours=hours, matured=matured)
        if hours < self.bounds.min_days * 24.0:
            return told
        if self.reference is not None and self._counts[0].sum() >= self.bounds.min_days * 24.0:
            index = psi(self._shares, self._counts / self._counts.sum(axis=1, keepdims=True))
            order = self._market[np.argsort(-index[self._market], kind="stable")[:_WORST]].tolist()
            worst = tuple((self._names[place], float(index[place])) for place in order)
            if len(self._market):
                told = msgspec.structs.replace(told, psi=float(index[self._market].mean()), worst=worst)
        if matured < self._least_matured:
            return told
        if both >= self._least_matured:
            model, har = (float(each) for each in self._sums[_QLIKE:_INSIDE] / both)
            told = msgspec.structs.replace(told, qlike=model, qlike_har=har)
        if not self.has_bands:
            share = None if told.qlike is None else float(self._sums[_NOT_POSITIVE] / both)
            return msgspec.structs.replace(told, not_positive_frac=share)
        inside = (self._sums[_INSIDE:] / matured).reshape(2, len(LEVELS))
        bands = tuple(Band(level, *inside[:, place].tolist()) for place, level in enumerate(LEVELS))
        gap = float(np.abs(inside - np.array(LEVELS)).max())
        return msgspec.structs.replace(told, bands=bands, band_gap_frac=gap)

    def follow(self, before: "DriftWatch") -> None:
        """Take over from the watch of another model on the same symbols what is known of the market itself.

        Its evidence about that model, and forecasts that have not matured, are left out.
        """
        self._now_ms = before._now_ms
        self._past = before._past.copy()
        self._at = [
            msgspec.structs.replace(each, made_close=nan, forecast=None, har_rv=nan) for each in before._at
        ]

    def record(self) -> DriftRecord:
        """Return everything that later measures depend on, beside reference and bounds."""
        return DriftRecord(
            of=self._of,
            now_ms=self._now_ms,
            beyond=dict(self.beyond),
            symbols=tuple(msgspec.msgpack.encode(each) for each in self._at),
            past=_bytes(self._past),
            counts=_bytes(self._counts),
            sums=_bytes(self._sums),
        )

    def restore(self, record: DriftRecord | None) -> None:
        """Go on from a record; one of another reference or half-life, and None, begin anew.

        Raises:
            BadInput: the record is damaged.
        """
        if record is None or record.of != self._of or len(record.symbols) != len(self._at):
            return
        try:
            self._at = [msgspec.msgpack.decode(each, type=_Hour) for each in record.symbols]
            self._past = np.frombuffer(record.past, "<f8").reshape(self._past.shape).copy()
            self._counts = np.frombuffer(record.counts, "<f8").reshape(self._counts.shape).copy()
            self._sums = np.frombuffer(record.sums, "<f8").reshape(self._sums.shape).copy()
        except (ValueError, msgspec.MsgspecError) as error:
            raise BadInput(f"what drift was measured so far cannot be read: {error}") from None
        self._now_ms = record.now_ms
        self.beyond = dict(record.beyond)

    # Inside

    def _on_hour(self, slot: int, at: _Hour, row: Floats, forecast: Forecast | None) -> None:
        now_ms = at.next_ms
        whole = at.bars == self._bars_an_hour
        self._forget_missed(slot, at.made_ms, now_ms)
        self._past[slot, now_ms // HOUR_MS % _WEEK] = max(at.squares, RV_MIN) if whole else nan
        if self.reference is not None and np.isfinite(row).all():
            self._counts[self._places, bins_of(row, self._edges)] += 1.0
        at.squares, at.bars, at.made_ms = 0.0, 0, now_ms
        if not at.is_pending:
            at.pending_ms, at.made_close, at.forecast = now_ms, at.close, forecast
            at.pending_squares, at.is_pending = 0.0, forecast is not None
            at.har_rv = self._har(slot, now_ms)

    def _pass_to(self, now_ms: int) -> None:
        """Let older evidence count less, once for all symbols of an hour."""
        if now_ms <= self._now_ms:
            return
        if self._now_ms:
            factor = 0.5 ** ((now_ms - self._now_ms) / HOUR_MS / self._half_life_hours)
            self._counts *= factor
            self._sums *= factor
        self._sums[_HOURS] += 1.0
        self._now_ms = now_ms

    def _forget_missed(self, slot: int, before_ms: int, now_ms: int) -> None:
        """Make the hours unknown that this symbol has no close of."""
        missed = range(before_ms // HOUR_MS + 1, now_ms // HOUR_MS)
        for hour in missed if len(missed) < _WEEK else range(_WEEK):
            self._past[slot, hour % _WEEK] = nan

    def _mature(self, at: _Hour) -> None:
        """Compare the pending forecast with what came."""
        made, at.is_pending = at.forecast, False
        if made is None:
            return
        rv, ret = max(at.pending_squares, RV_MIN), log(at.close / at.made_close)
        rv_hat, sd, ret_hat, ret_scale = (made[name] for name in self._judged)
        sums = self._sums
        sums[_MATURED] += 1.0
        if isfinite(at.har_rv) and isfinite(rv_hat):
            sums[_BOTH] += 1.0
            sums[_QLIKE] += qlike(rv, max(rv_hat, RV_MIN))
            sums[_QLIKE_HAR] += qlike(rv, at.har_rv)
            if not self.has_bands:
                sums[_NOT_POSITIVE] += rv_hat <= 0.0
        if not self.has_bands:
            return
        sd = max(sd, 1e-9)
        # rv_hat is the mean: the centre of a lognormal's logarithm lies half its variance below.
        off_rv = abs(log(rv / rv_hat) + 0.5 * sd * sd) / sd
        off_ret = abs(ret - ret_hat) / max(ret_scale, 1e-12)
        for place in range(len(LEVELS)):
            sums[_INSIDE + place] += off_rv <= _NORMAL[place]
            sums[_INSIDE + len(LEVELS) + place] += off_ret <= _STUDENT[place]

    def _har(self, slot: int, now_ms: int) -> float:
        """Return the forecast of ``har_hour`` at a full hour; NaN while its past is not known."""
        if self.reference is None or self.reference.har_weights is None:
            return nan
        hour, weights = now_ms // HOUR_MS, self.reference.har_weights
        past = self._past[slot, (hour - _AGO) % _WEEK]
        known = np.isfinite(past)
        counts = known.cumsum()[_LAST].tolist()
        sums = np.where(known, past, 0.0).cumsum()[_LAST].tolist()
        value = weights[-1] + weights[len(HAR_HOURS) + hour % 24]
        for hours, count, total, weight in zip(HAR_HOURS, counts, sums, weights, strict=False):
            if count < _KNOWN_FRAC * hours:
                return nan
            value += weight * log(max(total / count, RV_MIN / hours))
        return self.reference.har_factor * float(np.exp(value))

    def _judge(self) -> None:
        """Name the measures beyond their bound, and let those go that are well below it again."""
        told, bounds = self.measures(), self.bounds
        noise = sqrt(max(1.0, bounds.min_days * 24.0 / max(told.matured, 1.0)))
        for name, value, bound, what in (
            ("inputs", told.psi, bounds.max_psi, "mean PSI"),
            ("volatility", told.qlike_excess, noise * bounds.max_qlike_excess, "QLIKE above har_hour"),
            ("bands", told.band_gap_frac, noise * bounds.max_band_gap_frac, "share of outcomes off by"),
        ):
            if value is None:
                continue
            if value > bound and name not in self.beyond:
                self.beyond[name] = f"{what} {value:.3f}, bound {bound:.4g}"
            elif value <= bounds.recover_frac * bound:
                self.beyond.pop(name, None)


def _bytes(values: Floats) -> bytes:
    return values.astype("<f8").tobytes()


def _fingerprint(reference: DriftReference | None, bounds: DriftBounds, horizons: Horizons) -> str:
    others = () if horizons == HOUR else (horizons.minutes,)
    what = msgspec.json.encode((reference, bounds.half_life_days, *others))
    return hashlib.sha256(what).hexdigest()
