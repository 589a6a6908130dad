# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The whole network learns one small simulated scene by heart: proof that every part can learn.

    python -m mvreg_ros.training.overfit --out DIR

From random weights, by the joint loss of Eq. 16. It ends when `mvreg register --method lmpcr`
itself, with the weights so far, has every pair of the scene within 2 degrees and 5 cm.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
import csv
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
import time

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
from mvreg_ros.training.objective import Objective, ObjectiveConfig
from mvreg_ros.weights.files import save_weights
import numpy as np
import torch

CPU = torch.device('cpu')


@dataclass(frozen=True)
class OverfitConfig:
    """
    The scene and the schedule.

    voxel_size: metres, three times the paper's, to fit into minutes. points: of each fragment that
    are matched, a quarter of the paper's. warm_up: steps on L_c alone; matches from features that
    mean nothing teach the other parts nothing. rate: of Adam, falling to a hundredth by a cosine.
    check: steps between two trials of the whole pipeline.
    """

    seed: int = 0
    fragments: int = 6
    voxel_size: float = 0.075
    points: int = 512
    warm_up: int = 100
    steps: int = 600
    rate: float = 1e-3
    check: int = 25
    max_rotation: float = float(np.radians(2.0))
    max_translation: float = 0.05


def main() -> None:
    """Train until the scene is learnt, and write the weights and the losses of every step."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    config = OverfitConfig()
    begin = time.monotonic()
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    session = simulate_session(config.seed, rooms=1, fragments=config.fragments)
    network = Lmpcr(LmpcrConfig(voxel_size=config.voxel_size, points=config.points))
    registration = MultiviewRegistration(
        checked({'voxel_size': config.voxel_size, 'refine': False}),
        LearnedMethod(network, config.voxel_size, CPU))
    scans, T_world_scan = training_scans(registration, session)
    objective = Objective(scans, T_world_scan, ObjectiveConfig.for_voxel_size(config.voxel_size))
    optimizer = torch.optim.Adam(network.parameters(), config.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, config.steps, config.rate / 100)

    with (args.out / 'losses.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(('step', 'seconds', *LOSSES, 'rotation_deg', 'translation_m'))
        for step in range(config.steps):
            network.train()
            optimizer.zero_grad()
            if step < config.warm_up:
                loss = objective.correspondence(network.describe(scans), generator)
                parts = [loss]
            else:
                output = network(scans, Algorithm1Config(), generator)
                joint = objective(output, generator)
                loss, parts = joint.total, [getattr(joint, name) for name in LOSSES]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            values: list[float | str] = [float(part) for part in parts]
            values += [''] * (len(LOSSES) - len(values))
            if step >= config.warm_up and step % config.check == config.check - 1:
                network.eval()
                rotation, translation = worst_errors(registration, session)
                values += [np.degrees(rotation), translation]
                say(f'step {step + 1}, {time.monotonic() - begin:.0f} s: worst pair '
                    f'{np.degrees(rotation):.2f} deg, {100 * translation:.1f} cm')
                if rotation < config.max_rotation and translation < config.max_translation:
                    break
            writer.writerow((step, round(time.monotonic() - begin, 1), *values))
            file.flush()
    save_weights(
        args.out / 'lmpcr.safetensors', network.state_dict(),
        {'config': network.config.to_json(), 'source': 'mvreg_ros.training.overfit'})


LOSSES = ('correspondence', 'classification', 'transformation', 'confidence', 'synchronization')


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
    main()
