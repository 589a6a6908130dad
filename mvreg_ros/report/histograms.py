# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Histograms of edges: those in use below, the rejected ones on top of them."""

from __future__ import annotations

from typing import Any

from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray

BINS = 20
WIDTH = 95  # percent of the values in use that an open axis is made for


def histogram(
    name: str, unit: str, values: FloatArray, used: NDArray[np.bool_], top: float | None = None,
) -> dict[str, Any]:
    """
    Return the bars of values (E,), NaN left out, from 0 to `top`.

    Without `top` it is chosen after the values in use, and the last bar takes all beyond.
    """
    is_open = top is None
    if top is None:
        known = values[used & np.isfinite(values)]
        top = round_up(1.25 * float(np.percentile(known, WIDTH)) if len(known) else 1.0)
    counts = np.stack([
        np.histogram(np.minimum(values[rows & np.isfinite(values)], top), BINS, (0, top))[0]
        for rows in (used, ~used)])
    fullest = max(1, counts.sum(0).max())
    bars = [
        {'low': k * top / BINS, 'used': int(u), 'pruned': int(p), 'used_share': u / fullest,
         'pruned_share': p / fullest}
        for k, (u, p) in enumerate(zip(*counts, strict=True))]
    return {'name': name, 'unit': unit, 'top': top, 'open': is_open, 'bars': bars}


def round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ... that is not below a value."""
    power = 10.0 ** np.floor(np.log10(max(value, 1.0)))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value))
