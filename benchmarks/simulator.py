# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare simulated depth images and fragments with real ones, and say what a fragment costs.

Real data is read from MVREG_DATA or ../shared/data. Usage: python benchmarks/simulator.py [SEED]
"""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import sys
import time

from matplotlib.image import imread
from mvreg_ros.data.clouds import read_cloud
from mvreg_ros.data.logs import read_overlap
from mvreg_ros.simulate.camera import Depth
from mvreg_ros.simulate.ground_truth import overlaps
from mvreg_ros.simulate.session import drifting, simulate_session, SimulatedSession
from mvreg_ros.simulate.world import build_world
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get('MVREG_DATA', REPOSITORY.parent / 'shared' / 'data'))
PATCH = 9
Cloud = NDArray[np.float32]
# An image, its pose T_world_camera and the intrinsic matrix.
Frame = tuple[Depth, FloatArray, FloatArray]


def real_frames(name: str, count: int = 40) -> Iterator[Frame]:
    """Yield neighbours in pairs, every second pixel each way."""
    folder = DATA / 'rgbd' / name
    scale = 5000 if name.startswith('tum') else 1000
    poses = np.loadtxt(folder / 'poses.txt').reshape(-1, 4, 4)
    intrinsic = np.loadtxt(folder / 'intrinsics.txt')
    intrinsic[:2] /= 2
    for first in np.linspace(0, len(poses) - 2, count // 2).astype(int):
        for k in (first, first + 1):
            image = imread(folder / 'depth' / f'{k:06d}.png')
            metres = np.round(image * 65535) / scale
            yield metres[::2, ::2].astype(np.float32), poses[k], intrinsic


def simulated_frames(seed: int) -> Iterator[Frame]:
    """Yield pairs of neighbouring images from a walk through two rooms."""
    world = build_world(seed, rooms=2, fragments=10)
    rng = np.random.default_rng(seed)
    for some in world.T_world_camera[:, ::3][:, :2]:
        for pose, seen in zip(some, drifting(rng, some), strict=True):
            image = world.sensor.measure(rng, *world.truth(pose))
            yield image, seen, world.sensor.camera.matrix


def points_of(frame: Frame) -> FloatArray:
    """Return the points of an image in the world, (N, 3)."""
    depth, pose, intrinsic = frame
    v, u = np.nonzero(depth)
    rays = np.stack([u + 0.5, v + 0.5, np.ones(len(u))], 1) @ np.linalg.inv(intrinsic).T
    return rays * depth[v, u, None] @ pose[:3, :3].T + pose[:3, 3]


def roughness(frame: Frame, rng: np.random.Generator) -> FloatArray:
    """Return depth (m), distance from the local plane (m, rms) and its angle (deg), (M, 3)."""
    depth, _, intrinsic = frame
    half = PATCH // 2
    v, u = np.mgrid[-half:half + 1, -half:half + 1].reshape(2, -1)
    result = []
    for y in rng.integers(half, depth.shape[0] - half, 300):
        x = rng.integers(half, depth.shape[1] - half)
        patch = depth[y - half:y + half + 1, x - half:x + half + 1].ravel()
        if not patch.all():
            continue
        # A plane is linear in inverse depth.
        pixels = np.stack([u + x + 0.5, v + y + 0.5, np.ones_like(u)], 1)
        base = pixels @ np.linalg.inv(intrinsic).T
        plane, *_ = np.linalg.lstsq(base, 1 / patch, rcond=None)
        error = np.sqrt(np.mean((base @ plane * patch - 1) ** 2)) * depth[y, x]
        ray = base[len(base) // 2]
        cosine = abs(plane @ ray) / np.linalg.norm(plane) / np.linalg.norm(ray)
        result.append([depth[y, x], error, np.degrees(np.arccos(min(cosine, 1)))])
    return np.array(result).reshape(-1, 3)


def frame_row(name: str, frames: list[Frame]) -> str:
    """Return a line of the table of images."""
    rng = np.random.default_rng(0)
    patches = np.concatenate([roughness(frame, rng) for frame in frames])
    flat = [
        np.percentile(1e3 * patches[(patches[:, 0] > low) & (patches[:, 0] < low + 0.6), 1], 30)
        for low in (0.8, 1.7, 2.7)
    ]
    residuals = []
    for a, b in zip(frames[::2], frames[1::2], strict=True):
        distance, _ = cKDTree(points_of(a)).query(points_of(b)[::40])
        residuals.append(1e3 * np.median(distance[distance < 0.1]))
    depth = np.concatenate([frame[0].ravel() for frame in frames])
    near, middle, far = np.percentile(depth[depth > 0], (5, 50, 95))
    return (
        f'{name:12s}{100 * np.mean(depth == 0):9.0f}{near:8.1f}{middle:6.1f}{far:6.1f}'
        f'{flat[0]:10.1f}{flat[1]:6.1f}{flat[2]:6.1f}{np.mean(patches[:, 2] > 70) * 100:10.1f}'
        f'{np.median(residuals):11.1f}'
    )


def cloud_row(name: str, clouds: list[Cloud], neighbours: FloatArray) -> str:
    """Return a line of the table of fragments; neighbours: overlaps of k and k + 1."""
    rows = []
    for cloud in clouds:
        tree = cKDTree(cloud)
        some = cloud[::max(1, len(cloud) // 500)]
        spacing = np.median(tree.query(some, 2)[0][:, 1])
        thickness = [
            np.sqrt(max(np.linalg.eigvalsh(np.cov(cloud[near].T))[0], 0))
            for near in tree.query_ball_point(some, 0.075) if len(near) > 8
        ]
        low, high = np.percentile(cloud, (2, 98), axis=0)
        rows.append([len(cloud), 1e3 * spacing, *np.sort(high - low), np.median(cloud[:, 2]),
                     *(1e3 * np.percentile(thickness, (25, 50, 75)))])
    n, spacing, short, middle, long, depth, *thick = np.median(rows, axis=0)
    share = np.percentile(neighbours, (10, 50, 90))
    return (
        f'{name:12s}{n:9.0f}{spacing:9.1f}{short:8.1f}{middle:5.1f}{long:5.1f}{depth:8.1f}'
        f'{thick[0]:10.1f}{thick[1]:6.1f}{thick[2]:6.1f}'
        f'{share[0]:9.2f}{share[1]:6.2f}{share[2]:6.2f}'
    )


def real_clouds(scene: Path) -> tuple[list[Cloud], FloatArray]:
    """Return every fourth fragment of a scene of 3DMatch, and the overlaps of neighbours."""
    count = len(list(scene.glob('cloud_bin_*.ply')))
    clouds = [read_cloud(scene / f'cloud_bin_{k}.ply') for k in range(0, count, 4)]
    share = read_overlap(DATA / '3dmatch/benchmarks/3DMatch' / scene.name / 'gt_overlap.log')
    return clouds, np.array([share[k, k + 1] for k in range(count - 1)])


def simulated_clouds(session: SimulatedSession) -> tuple[list[Cloud], FloatArray]:
    """Return every second fragment, and the overlaps of neighbours."""
    return [f.points for f in session.fragments[::2]], np.diag(overlaps(session), 1)


def report(seed: int) -> Iterator[str]:
    """Yield the lines of the report."""
    start, cpu = time.perf_counter(), time.process_time()
    session = simulate_session(seed, 4, 30)
    count = len(session.fragments)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    yield f'{seconds / count:.2f} s a fragment, {cpu_seconds / count:.2f} CPU-s\n'
    yield ('fragments      points  spacing  extent, sorted   depth   thickness 25/50/75 %'
           '  overlap 10/50/90 %')
    yield '                           mm               m       m                     mm'
    for scene in sorted((DATA / '3dmatch' / 'fragments').iterdir()):
        yield cloud_row(scene.name.split('-')[1].split('_')[0], *real_clouds(scene))
    yield cloud_row('simulated', *simulated_clouds(session))
    yield ('\nimages        missing  depth 5/50/95 %  roughness 1/2/3 m  over 70 deg'
           '  frame to frame')
    yield '                    %                m                 mm            %              mm'
    for name in ('tum_fr1_rpy', 'hololens'):
        yield frame_row(name, list(real_frames(name)))
    yield frame_row('simulated', list(simulated_frames(seed)))


if __name__ == '__main__':
    for line in report(int(sys.argv[1]) if len(sys.argv) > 1 else 0):
        print(line, flush=True)
