# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The whole network learns one small simulated scene by heart: proof that every part can learn.

    python -m mvreg_ros.training.overfit --out DIR

From random weights, as the paper trains: the features, then the blocks on them, then everything
end to end by the joint loss of Eq. 16. It ends when the pipeline of `mvreg register --method
lmpcr --no-refine` itself has every pair of the scene within 2 degrees and 5 cm.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
import csv
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
import sys
import time
from typing import Any, TextIO

from mvreg_ros.commands.console import say
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.methods.learned import LearnedMethod
from mvreg_ros.multiview.algorithm_1 import Algorithm1Config
from mvreg_ros.multiview.centering import centered, shift
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.parameters import checked
from mvreg_ros.register import as_fragment, MultiviewRegistration
from mvreg_ros.simulate import simulate_session
from mvreg_ros.simulate.session import SimulatedSession
from mvreg_ros.training.losses import JointLoss, PARTS
from mvreg_ros.training.objective import Objective, ObjectiveConfig
from mvreg_ros.weights.files import save_weights
import numpy as np
import torch
from torch import nn, Tensor

CPU = torch.device('cpu')
# A writer of the csv module, whose type has no public name.
Writer = Any


@dataclass(frozen=True)
class OverfitConfig:
    """
    The scene and the schedule, which is the paper's: parts first, then all of it end to end.

    voxel_size: metres, three times the paper's, to fit into minutes. points: of each fragment that
    are matched, half of the paper's. inlier: metres, where a match counts as right. features:
    steps of phi alone. blocks: steps of psi_init, one pass of psi_iter and zeta on the features of
    phi as it is then. joint: steps of Eq. 16 through the whole of Alg. 1, at most. rate,
    joint_rate: of Adam, which falls by a cosine in each stage. check: joint steps between two
    trials of the whole pipeline.
    """

    seed: int = 0
    fragments: int = 4
    voxel_size: float = 0.075
    points: int = 1024
    inlier: float = 0.1
    features: int = 150
    blocks: int = 200
    joint: int = 150
    rate: float = 1e-3
    joint_rate: float = 3e-5
    check: int = 10
    max_rotation: float = float(np.radians(2.0))
    max_translation: float = 0.05


class Descent:
    """A part of the schedule: improves a module step by step, each a row of the CSV."""

    def __init__(
        self, name: str, module: nn.Module, steps: int, rate: float, writer: Writer
    ) -> None:
        """Begin with a fresh optimiser; rate falls to a hundredth in `steps`."""
        self.name, self.module, self.writer = name, module, writer
        self.begin = time.monotonic()
        self.optimizer = torch.optim.Adam(module.parameters(), rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, steps, rate / 100)

    def improve(self, loss: Tensor, parts: JointLoss | None = None) -> None:
        """Take a step down the gradient of the loss."""
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        values = [getattr(parts, name).item() for name in PARTS] if parts else []
        seconds = round(time.monotonic() - self.begin, 1)
        self.writer.writerow((self.name, seconds, loss.item(), *values))


def train(config: OverfitConfig, file: TextIO) -> tuple[Lmpcr, bool]:
    """Return the network, and whether it has learnt the scene; `file` gets the losses as CSV."""
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    session = simulate_session(config.seed, rooms=1, fragments=config.fragments)
    network = Lmpcr(LmpcrConfig(voxel_size=config.voxel_size, points=config.points))
    registration = MultiviewRegistration(
        checked({'voxel_size': config.voxel_size, 'refine': False}),
        LearnedMethod(network, config.voxel_size, CPU))
    scans, T_world_scan = training_scans(registration, session)
    labels = replace(ObjectiveConfig.for_voxel_size(config.voxel_size), inlier=config.inlier)
    objective = Objective(scans, T_world_scan, labels)
    writer = csv.writer(file)
    writer.writerow(('stage', 'seconds', 'loss', *PARTS))

    network.train()
    descent = Descent('features', network.phi, config.features, config.rate, writer)
    for _ in range(config.features):
        descent.improve(objective.correspondence(network.describe(scans), generator))

    # From here on batch norms keep their statistics: the blocks normalise each pair before, and
    # what is trained is what the pipeline runs, whose rounds and batches differ from these.
    network.eval()
    with torch.no_grad():
        descriptors = network.describe(scans)
    blocks = nn.ModuleList([network.psi_init, network.psi_iter, network.zeta])
    descent = Descent('blocks', blocks, config.blocks, config.rate, writer)
    for _ in range(config.blocks):
        one_pass = Algorithm1Config(iterations=1)
        parts = objective(network.register(scans, descriptors, one_pass, generator), generator)
        descent.improve(parts.registration + parts.confidence, parts)

    descent = Descent('joint', network, config.joint, config.joint_rate, writer)
    for step in range(config.joint):
        parts = objective(network(scans, Algorithm1Config(), generator), generator)
        descent.improve(parts.total, parts)
        if (step + 1) % config.check == 0 and is_learnt(registration, session, config):
            return network, True
    return network, False


def is_learnt(
    registration: MultiviewRegistration, session: SimulatedSession, config: OverfitConfig
) -> bool:
    """Return whether the pipeline itself has every pair of the scene right; say how right."""
    rotation, translation = worst_errors(registration, session)
    say(f'worst pair {np.degrees(rotation):.2f} deg, {100 * translation:.1f} cm')
    return rotation < config.max_rotation and translation < config.max_translation


def main() -> int:
    """Train, write the weights and the losses, and return 0 where the scene was learnt."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with (args.out / 'losses.csv').open('w', newline='', buffering=1) as file:
        network, learnt = train(OverfitConfig(), file)
    save_weights(
        args.out / 'lmpcr.safetensors', network.state_dict(),
        {'config': network.config.to_json(), 'source': 'mvreg_ros.training.overfit'})
    say(f"{'learnt' if learnt else 'not learnt'} in {time.monotonic() - begin:.0f} s")
    return 0 if learnt else 1


def training_scans(
    registration: MultiviewRegistration, session: SimulatedSession
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the points (N, 3) of each fragment as the network gets them, and T_world_scan."""
    scans, centers = [], []
    for fragment in session.fragments:
        moved, center = centered(registration.prepare(as_fragment(fragment, fragment.id)))
        points = torch.from_numpy(moved.points)
        scans.append(points[voxel_down_sample(points, registration.voxel_size)])
        centers.append(center)
    T_world_scan = session.T_world_fragment @ shift(centers)
    return scans, torch.from_numpy(T_world_scan).to(scans[0].dtype)


def worst_errors(
    registration: MultiviewRegistration, session: SimulatedSession
) -> tuple[float, float]:
    """Return the largest rotation (rad) and translation error (m) of all pairs, or infinity."""
    result = registration.register(session.fragments)
    truth = session.T_world_fragment
    rotation, translation = [], []
    for i, j in combinations(range(len(session.fragments)), 2):
        T_i_j = result.relative(i, j)
        if T_i_j is None:
            return np.inf, np.inf
        expected = np.linalg.inv(truth[i]) @ truth[j]
        rotation.append(rotation_angle(expected[:3, :3].T @ T_i_j[:3, :3]))
        translation.append(np.linalg.norm(T_i_j[:3, 3] - expected[:3, 3]))
    return float(np.max(rotation)), float(np.max(translation))


if __name__ == '__main__':
    sys.exit(main())
