"""Fewer points that look the same: MinMaxLTTB (Van Der Donckt et al. 2023, tsdownsample) around what it cannot take. Imports numpy."""

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tsdownsample import MinMaxLTTBDownsampler

from daemon.scalars.rows import Columns
from daemon.scalars.store import Chunk

_FEWEST = 3
"""What MinMaxLTTB can make at least: the ends, and one between."""

Indices = npt.NDArray[np.intp]


def thin(chunks: Sequence[Chunk], max_points: int) -> Columns:
    """At most *max_points* (3 or more) of the points in *chunks*, in order; all, where there are no more.

    The first and last, the smallest and largest finite value are among them wherever there is room for ten. So are points that are NaN
    or infinite: all of them, as long as they take no more than a quarter of the room; beyond that the ends of each row of them, so that
    every gap is seen; and when even these are too many, as many as have room, evenly.
    """
    columns = [np.frombuffer(chunk.data).reshape(3, -1)[:, chunk.start : chunk.stop] for chunk in chunks]
    values = np.concatenate([column[2] for column in columns])
    steps = np.concatenate([column[0].view(np.int64) for column in columns])
    kept = _kept(steps, values, max_points)
    # Of the times only those are touched that are wanted: they are a third of all bytes.
    begins = np.cumsum([0, *(column.shape[1] for column in columns)])
    cuts = np.searchsorted(kept, begins)
    times = [column[1][kept[cuts[at] : cuts[at + 1]] - begins[at]] for at, column in enumerate(columns)]
    return Columns(array("q", steps[kept].tobytes()), array("d", np.concatenate(times).tobytes()), array("d", values[kept].tobytes()))


def _kept(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], max_points: int) -> Indices:
    if len(values) <= max_points:
        return np.arange(len(values))
    is_finite = np.isfinite(values)
    if is_finite.all():
        return _peaked(steps, values, max_points)
    finite: Indices = np.flatnonzero(is_finite)
    broken = _ends(np.flatnonzero(~is_finite), max(1, max_points // 4) if len(finite) else max_points)
    return np.union1d(broken, finite[_peaked(steps[finite], values[finite], max_points - len(broken))])


def _ends(broken: Indices, room: int) -> Indices:
    if len(broken) > room:
        is_joined = np.diff(broken) == 1
        broken = broken[~(np.append(False, is_joined) & np.append(is_joined, False))]
    return _evenly(broken, room)


def _peaked(steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], room: int) -> Indices:
    """Which of finite *values* to keep."""
    if len(values) <= room or room < _FEWEST:
        return _evenly(np.arange(len(values)), room)
    # Of two peaks that share a bucket, LTTB keeps the one with the larger triangle; the two that all look for stay in any case.
    extremes: Indices = np.unique([values.argmin(), values.argmax()]) if room >= 10 else np.array([], np.intp)
    thinner = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]  # tsdownsample has no types
    chosen: Indices = thinner.downsample(steps, values, n_out=room - len(extremes)).astype(np.intp)
    return np.union1d(chosen, extremes)


def _evenly(indices: Indices, room: int) -> Indices:
    """At most *room* of *indices*, the first and the last among them where two have room."""
    if len(indices) <= room:
        return indices
    return indices[np.unique(np.linspace(0, len(indices) - 1, room).astype(np.intp))]
