# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The joint objective on known scenes, and the script that learns one by heart."""

from __future__ import annotations

import csv
from dataclasses import replace
import io
from itertools import combinations

from mvreg_ros.lmpcr import LmpcrOutput
from mvreg_ros.multiview.algorithm_1 import Gamma, PairEstimate, relative_poses, Round
from mvreg_ros.training import overfit
from mvreg_ros.training.losses import PARTS
from mvreg_ros.training.objective import Objective, ObjectiveConfig
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import torch

CONFIG = ObjectiveConfig()


def scene() -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return three scans (200, 3) of the same points in frames of their own, and their poses."""
    rng = np.random.default_rng(0)
    world = rng.uniform(-1, 1, (200, 3))
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, :3] = Rotation.random(3, random_state=1).as_matrix()
    poses[:, :3, 3] = rng.uniform(-3, 3, (3, 3))
    scans = [torch.from_numpy((world - T[:3, 3]) @ T[:3, :3]) for T in poses]
    return scans, torch.from_numpy(poses)


def perfect(scans: list[torch.Tensor], poses: torch.Tensor) -> LmpcrOutput:
    """Return what a network would that makes no mistake; half of the matches are wrong."""
    i, j = torch.tensor(list(combinations(range(3), 2))).T
    points_i, points_j = (torch.stack([scans[k] for k in index]) for index in (i, j))
    points_j = torch.cat([points_j[:, :100], points_j[:, 100:].flip(1)], 1)
    right = torch.arange(200).expand(3, -1) < 100
    T = relative_poses(poses, i, j)
    logits = torch.where(right, 30.0, -30.0).double()
    pairs = PairEstimate(
        T, torch.ones(3, dtype=torch.bool), logits, logits.relu().tanh(),
        torch.full((3,), 30.0, dtype=torch.float64))
    ones = torch.ones(3)
    rounds = [Round(pairs, poses, torch.zeros(3), T, ones > 0, ones, ones)]
    descriptors = [torch.eye(200, dtype=torch.float64)] * 3
    return LmpcrOutput(
        descriptors, Gamma(i, j, points_i, points_j, torch.ones_like(right)), pairs, rounds)


def losses(output: LmpcrOutput, objective: Objective) -> dict[str, float]:
    """Return the parts of the joint loss by name."""
    parts = objective(output, torch.Generator().manual_seed(0))
    return {name: getattr(parts, name).item() for name in PARTS}


def test_no_mistake_no_loss() -> None:
    """Descriptors sqrt(2) > 1.4 apart, right labels, right poses: every part is zero."""
    scans, poses = scene()
    found = losses(perfect(scans, poses), Objective(scans, poses, CONFIG))
    assert found == pytest.approx(dict.fromkeys(PARTS, 0.0), abs=1e-6)


def test_each_mistake_is_seen_by_the_loss_it_concerns() -> None:
    """A shift of 10 cm of every pose costs 10 cm, and so on."""
    scans, poses = scene()
    objective, output = Objective(scans, poses, CONFIG), perfect(scans, poses)
    shifted = output.initial.T_i_j.clone()
    shifted[:, 0, 3] += 0.1
    worse = replace(output, initial=replace(output.initial, T_i_j=shifted))
    assert losses(worse, objective)['transformation'] == pytest.approx(0.05)  # one pass of two

    moved = poses.clone()
    moved[1, :3, 3] += torch.tensor([0.0, 0.3, 0.0])
    worse = replace(output, rounds=[replace(output.rounds[0], poses=moved)])
    assert losses(worse, objective)['synchronization'] == pytest.approx(0.2)  # two pairs of three

    logits = output.initial.logits.clone()
    logits[:, 0] = -30.0
    worse = replace(output, initial=replace(output.initial, logits=logits))
    # Half the weight on the inliers, one of a hundred wrong by 30, in one pass of two.
    assert losses(worse, objective)['classification'] == pytest.approx(0.5 * 0.3 / 2)

    unsure = replace(output.rounds[0].pairs, confidence=torch.full((3,), -30.0).double())
    worse = replace(output, rounds=[replace(output.rounds[0], pairs=unsure)])
    assert losses(worse, objective)['confidence'] == pytest.approx(30.0)

    same = [torch.ones(200, 1, dtype=torch.float64)] * 3
    worse = replace(output, descriptors=same)
    assert losses(worse, objective)['correspondence'] == pytest.approx(1.4**2)


def test_pairs_without_inliers_teach_no_pose() -> None:
    """A pair below the least share of right matches has no part in the transformation loss."""
    scans, poses = scene()
    output = perfect(scans, poses)
    points = output.gamma.points_j.clone()
    points[0] += 5.0
    T = output.initial.T_i_j.clone()
    T[0, :3, 3] += 100.0
    pairs = replace(output.initial, T_i_j=T)
    worse = replace(
        output, gamma=replace(output.gamma, points_j=points), initial=pairs,
        rounds=[replace(output.rounds[0], pairs=pairs)])
    assert losses(worse, Objective(scans, poses, CONFIG))['transformation'] < 1e-6


def test_every_stage_of_the_script_runs_and_improves_its_part() -> None:
    """Two steps of each: rows of finite losses, and no part that all stages pass by."""
    file = io.StringIO()
    config = overfit.OverfitConfig(
        fragments=3, voxel_size=0.3, points=64, features=2, blocks=2, joint=2, check=1)
    torch.manual_seed(config.seed)
    before = {name: p.clone() for name, p in overfit.Lmpcr().named_parameters()}
    network, learnt = overfit.train(config, file)
    assert not learnt
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row['stage'] for row in rows] == ['features'] * 2 + ['blocks'] * 2 + ['joint'] * 2
    for row in rows:
        numbers = [float(row[name]) for name in ('loss', *PARTS) if row[name]]
        assert np.isfinite(numbers).all()
    for name, parameter in network.named_parameters():
        if parameter.dim() == 1:  # biases in front of a norm have no gradient
            continue
        assert not torch.equal(parameter, before[name]), name
