# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a registration: what `mvreg register` and the node's save write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
from importlib.metadata import PackageNotFoundError, version
import io
from pathlib import Path
import platform

from mvreg_ros import __version__
from mvreg_ros.data.files import new_folder, write_atomic
from mvreg_ros.data.graph import graph_g2o, graph_json, stamp_text, trajectory_tum
from mvreg_ros.data.merge import fragment_colors, merged_cloud
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.device import select_device
from mvreg_ros.parameters import Value
from mvreg_ros.report.registration import report_html
from mvreg_ros.types import Fragment, Registration
import yaml

PACKAGES = ('torch', 'numpy', 'scipy', 'small_gicp', 'gtsam')


def write_results(
    directory: Path,
    fragments: Sequence[Fragment],
    registration: Registration,
    parameters: Mapping[str, Value],
) -> None:
    """
    Write the files of a registration to a new folder, all of them or none.

    poses.tum holds component 0, poses_1.tum the next and so on: each has a frame of its own.
    Raises InputError where `directory` holds something already or cannot be written.
    """
    with new_folder(directory) as folder:
        write_files(folder, fragments, registration, parameters)


def write_files(
    folder: Path,
    fragments: Sequence[Fragment],
    registration: Registration,
    parameters: Mapping[str, Value],
) -> None:
    """Write the files of a registration into `folder`, see `write_results`."""
    for component in range(max(registration.component.max(initial=0), 0) + 1):
        name = f'poses_{component}.tum' if component else 'poses.tum'
        write_atomic(folder / name, trajectory_tum(fragments, registration, component))
    write_atomic(folder / 'graph.g2o', graph_g2o(registration))
    write_atomic(folder / 'graph.json', graph_json(fragments, registration))
    points, ids = merged_cloud(fragments, registration, float(parameters['voxel_size']))
    write_atomic(folder / 'map.ply', encode_ply(points, fragment_colors(len(fragments))[ids]))
    write_atomic(folder / 'fragments.csv', _fragments_csv(fragments, registration))
    write_atomic(folder / 'config.yaml', _config_yaml(parameters))
    write_atomic(folder / 'report.html', report_html(fragments, registration, parameters))


def _fragments_csv(fragments: Sequence[Fragment], registration: Registration) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['id', 'stamp', 'frame', 'placed', 'component', 'reason'])
    for fragment in fragments:
        writer.writerow([
            fragment.id, stamp_text(fragment.stamp_ns), fragment.frame_id or fragment.name,
            str(bool(registration.placed[fragment.id])).lower(),
            registration.component[fragment.id], registration.reason[fragment.id],
        ])
    return text.getvalue()


def _config_yaml(parameters: Mapping[str, Value]) -> str:
    config = {
        'parameters': dict(parameters),
        'device': str(select_device(str(parameters['device']))),
        'versions': {
            'mvreg_ros': __version__, 'python': platform.python_version(),
            **{name: package_version(name) for name in PACKAGES}},
    }
    return yaml.safe_dump(config, sort_keys=False)


def package_version(name: str) -> str:
    """Return the version of an installed package, or 'not installed'."""
    try:
        return version(name)
    except PackageNotFoundError:
        return 'not installed'
