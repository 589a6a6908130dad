# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The final pose-graph optimisation, with covariances (gtsam)."""

from __future__ import annotations

import gtsam
from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.se3 import swap_order
from mvreg_ros.types import Edges, FloatArray
import numpy as np

# The first fragment of a component defines its frame: it is held this tightly (m, rad).
GAUGE_SIGMA = 1e-6


def optimize_poses(
    poses: FloatArray, component: Index, edges: Edges
) -> tuple[FloatArray, FloatArray]:
    """
    Return the poses (S, 4, 4) that fit the edges in use best, and their covariances (S, 6, 6).

    poses: the start. The first fragment of each component stays where it is. Covariances are in
    the fragment's own frame, translation before rotation, relative to the first fragment; NaN for
    a fragment alone.
    """
    optimized = poses.copy()
    covariances = np.full((len(poses), 6, 6), np.nan)
    used = edges.select(edges.used)
    for label in range(component.max(initial=-1) + 1):
        nodes = np.flatnonzero(component == label).tolist()
        graph, start = gtsam.NonlinearFactorGraph(), gtsam.Values()
        for k in nodes:
            start.insert(k, gtsam.Pose3(poses[k]))
        gauge = gtsam.noiseModel.Isotropic.Sigma(6, GAUGE_SIGMA)
        graph.add(gtsam.PriorFactorPose3(nodes[0], gtsam.Pose3(poses[nodes[0]]), gauge))
        for row in np.flatnonzero(component[used.i] == label):
            noise = gtsam.noiseModel.Gaussian.Information(swap_order(used.information[row]))
            graph.add(gtsam.BetweenFactorPose3(
                int(used.i[row]), int(used.j[row]), gtsam.Pose3(used.T_i_j[row]), noise
            ))
        result = levenberg_marquardt(graph, start)
        marginals = gtsam.Marginals(graph, result)
        for k in nodes:
            raise_if_cancelled()
            optimized[k] = result.atPose3(k).matrix()
            covariances[k] = swap_order(marginals.marginalCovariance(k))
    return optimized, covariances


def levenberg_marquardt(graph: gtsam.NonlinearFactorGraph, start: gtsam.Values) -> gtsam.Values:
    """Return what gtsam's `optimize` does; that runs to its end, whatever happens meanwhile."""
    parameters = gtsam.LevenbergMarquardtParams()
    optimizer = gtsam.LevenbergMarquardtOptimizer(graph, start, parameters)
    converged = False
    while not converged and optimizer.iterations() < parameters.getMaxIterations():
        raise_if_cancelled()
        error = optimizer.error()
        optimizer.iterate()
        converged = gtsam.checkConvergence(
            parameters.getRelativeErrorTol(), parameters.getAbsoluteErrorTol(),
            parameters.getErrorTol(), error, optimizer.error())
    return optimizer.values()
