# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Simulated depth images and fragments beside real ones, and what a fragment costs.

    mvreg benchmark simulator [SEED]

Real data is read from MVREG_DATA or ../shared/data.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from itertools import pairwise
import os
from pathlib import Path
import time

from benchmarks.footer import footer
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
PATCH = 9  # pixels along a side
FARTHEST = 6.0
RANGES, ANGLES = (0.4, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0), (0, 20, 35, 50, 60, 70, 80)
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


def patches_of(frame: Frame, rng: np.random.Generator) -> FloatArray:
    """
    Return planes through small patches of which at least half is seen, (M, 4).

    Columns: depth of the plane (m), distance of the points from it along the ray (m, rms), angle
    of incidence (deg), share of pixels without depth.
    """
    depth, _, intrinsic = frame
    half = PATCH // 2
    v, u = np.mgrid[-half:half + 1, -half:half + 1].reshape(2, -1)
    result = []
    for y in rng.integers(half, depth.shape[0] - half, 400):
        x = rng.integers(half, depth.shape[1] - half)
        patch = depth[y - half:y + half + 1, x - half:x + half + 1].ravel()
        seen = patch > 0
        if 2 * seen.sum() < patch.size:
            continue
        # A plane is linear in inverse depth.
        pixels = np.stack([u + x + 0.5, v + y + 0.5, np.ones_like(u)], 1)
        base = pixels @ np.linalg.inv(intrinsic).T
        plane, *_ = np.linalg.lstsq(base[seen], 1 / patch[seen], rcond=None)
        ray = base[len(base) // 2]
        if not FARTHEST * (plane @ ray) > 1:
            continue
        z = 1 / (plane @ ray)
        error = np.sqrt(np.mean((base[seen] @ plane * patch[seen] - 1) ** 2)) * z
        cosine = abs(plane @ ray) / np.linalg.norm(plane) / np.linalg.norm(ray)
        angle = np.degrees(np.arccos(min(cosine, 1)))
        result.append([z, error, angle, np.mean(~seen)])
    return np.array(result).reshape(-1, 4)


def surface_rows(name: str, frames: list[Frame]) -> tuple[str, str]:
    """Return lines of the tables of surfaces, by range and by angle of incidence."""
    rng = np.random.default_rng(0)
    planes = np.concatenate([patches_of(frame, rng) for frame in frames])
    # What is rougher than this is an edge or clutter, not a surface.
    z, error, angle, missing = planes[planes[:, 1] < 0.015 * planes[:, 0]].T
    return (f'{name:12s}{cells(z, RANGES, 1e3 * error, missing)}',
            f'{name:12s}{cells(angle, ANGLES, 1e3 * error / z**2, missing)}')


def cells(
    values: FloatArray, bins: Sequence[float], error: FloatArray, missing: FloatArray
) -> str:
    """Return how many surfaces are in each bin, how far from planes, and how much is missing."""
    inside = [(values >= low) & (values < high) for low, high in pairwise(bins)]
    enough = [rows if rows.sum() > 30 else None for rows in inside]
    share = [f'{100 * rows.mean():5.0f}' for rows in inside]
    rough = ['     -' if rows is None else f'{np.percentile(error[rows], 30):6.1f}'
             for rows in enough]
    lost = ['     -' if rows is None else f'{100 * missing[rows].mean():6.1f}' for rows in enough]
    return '  '.join(map(''.join, (share, rough, lost)))


def frame_row(name: str, frames: list[Frame]) -> str:
    """Return a line of the table of images."""
    rng = np.random.default_rng(0)
    patches = np.concatenate([patches_of(frame, rng) for frame in frames])
    patches = patches[patches[:, 3] == 0]
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


def surface_table(
    values: str, bins: Sequence[float], error: str, rows: Sequence[str]
) -> Iterator[str]:
    """Yield the lines of a table of surfaces; bins are headed by where they begin."""
    bounds = '  '.join(''.join(f'{low:{width}g}' for low in bins[:-1]) for width in (5, 6, 6))
    wide = 6 * len(bins) - 4
    yield f'\n{"surfaces":12s}{"share, %":{wide - len(bins) + 1}}{error:{wide}}missing, %'
    yield f'{values:12s}{bounds}'
    yield from rows


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
    frames = {name: list(real_frames(name)) for name in ('tum_fr1_rpy', 'hololens')}
    frames['simulated'] = list(simulated_frames(seed))
    for name, some in frames.items():
        yield frame_row(name, some)
    by_range, by_angle = zip(*(surface_rows(*item) for item in frames.items()), strict=True)
    yield from surface_table('range, m', RANGES, 'from plane, mm', by_range)
    yield from surface_table('angle, deg', ANGLES, 'from plane, mm / (range in m)^2', by_angle)


def main() -> None:
    """Print the report."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('seed', nargs='?', type=int, default=0)
    for line in report(parser.parse_args().seed):
        print(line, flush=True)
    print(f'\n{footer()}')


if __name__ == '__main__':
    main()
