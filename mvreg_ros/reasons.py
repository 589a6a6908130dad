# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the reason codes of edges and fragments mean, in words."""

from __future__ import annotations

REASONS = {
    'consistent': 'agrees with the poses that all edges make together',
    'only_link': 'nothing else links the two parts, and so nothing contradicts it',
    'inconsistent': 'contradicts the poses that the other edges make together',
    'low_confidence': 'too few matches agree on it',
    'doubted': 'many matches agree on it, but it is not what the sensors saw',
    'no_link': 'no edge to another fragment is in use',
    'excluded': 'left out by the parameter exclude',
    'odometry': 'odometry from one fragment to the next',
    'odometry_agrees': 'weak alone, but odometry says the same and the sensors saw it',
    'odometry_contradicted': 'odometry, contradicted by what the sensors saw',
    'odometry_unseen': 'odometry between fragments that have too little in common to confirm it',
    'odometry_disputed': 'odometry beside a part that it contradicts: one of both is wrong',
    'odometry_imprecise': 'odometry that drifts too much on its way to tell where to look',
    'odometry_inconsistent': 'odometry, contradicted by the poses of the other edges',
    'odometry_drifts': 'odometry, which is too far from what registration is sure of',
    'odometry_unconfirmed': 'odometry of a run that registration confirms nowhere',
}


def in_words(reason: str) -> str:
    """Return what a code means; one that is not known is returned as it is."""
    return REASONS.get(reason, reason)
