# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pose graph of a registration in the formats that others read: Open3D's JSON, g2o, TUM."""

from __future__ import annotations

from collections.abc import Sequence
import json

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.multiview.se3 import swap_order
from mvreg_ros.types import FloatArray, Fragment, Registration
import numpy as np
from scipy.spatial.transform import Rotation

UPPER_TRIANGLE = np.triu_indices(6)


def graph_json(fragments: Sequence[Fragment], registration: Registration) -> str:
    """
    Return the graph as an Open3D PoseGraph, with keys of our own that Open3D passes over.

    Node k is fragment k; one that was not placed has the identity as pose and `placed` false. The
    poses of a node are those of its component's frame. An edge maps its source j into its target i
    and stands here whatever its verdict; all are `uncertain`, as odometry may be wrong, too.
    """
    # One by one: a large graph in one call would hold the interpreter for seconds.
    nodes = ', '.join(_json(_node(fragment, registration)) for fragment in fragments)
    edges = ', '.join(
        _json(_edge(registration, row)) for row in range(len(registration.edges)))
    head = _json(_class('PoseGraph'))[:-1]
    return f'{head}, "nodes": [{nodes}], "edges": [{edges}]}}'


def _json(value: dict[str, object]) -> str:
    raise_if_cancelled()
    return json.dumps(value, allow_nan=False)


def _class(name: str) -> dict[str, object]:
    return {'class_name': name, 'version_major': 1, 'version_minor': 0}


def _node(fragment: Fragment, registration: Registration) -> dict[str, object]:
    placed = bool(registration.placed[fragment.id])
    pose = registration.poses[fragment.id] if placed else np.eye(4)
    return {
        **_class('PoseGraphNode'), 'pose': _column_major(pose), 'id': fragment.id,
        'stamp': stamp_text(fragment.stamp_ns), 'frame': fragment.frame_id or fragment.name,
        'placed': placed, 'component': int(registration.component[fragment.id]),
        'reason': str(registration.reason[fragment.id]),
    }


def _edge(registration: Registration, row: int) -> dict[str, object]:
    edges = registration.edges
    return {
        **_class('PoseGraphEdge'), 'source_node_id': int(edges.j[row]),
        'target_node_id': int(edges.i[row]), 'uncertain': True,
        'confidence': float(edges.confidence[row]),
        'transformation': _column_major(edges.T_i_j[row]),
        # Open3D orders a tangent vector rotation first, we translation first.
        'information': _column_major(swap_order(edges.information[row])),
        'inliers': int(edges.inliers[row]), 'verdict': str(edges.verdict[row]),
        'reason': str(edges.reason[row]),
    }


def _column_major(matrix: FloatArray) -> list[float]:
    return matrix.ravel(order='F').tolist()


def graph_g2o(registration: Registration) -> str:
    """
    Return the placed fragments and the edges between them that were used, as g2o text.

    Information is written translation first, per radian. The first fragment of each component is
    fixed: components have frames of their own.
    """
    lines = [f'VERTEX_SE3:QUAT {id} {_pose_text(registration.poses[id])}'
             for id in np.flatnonzero(registration.placed)]
    for component in np.unique(registration.component[registration.placed]):
        lines.append(f'FIX {next(registration.members(component))}')
    edges = registration.edges.select(registration.edges.used)
    for i, j, T_i_j, information in zip(
            edges.i, edges.j, edges.T_i_j, edges.information, strict=True):
        if registration.relative(i, j) is not None:
            triangle = ' '.join(f'{value:.9g}' for value in information[UPPER_TRIANGLE])
            lines.append(f'EDGE_SE3:QUAT {i} {j} {_pose_text(T_i_j)} {triangle}')
    return ''.join(f'{line}\n' for line in lines)


def trajectory_tum(
    fragments: Sequence[Fragment], registration: Registration, component: int,
) -> str:
    """Return the poses of a component as TUM text, T_map_fragment, in the order of stamps."""
    members = sorted(registration.members(component), key=lambda id: fragments[id].stamp_ns)
    lines = [f'{stamp_text(fragments[id].stamp_ns)} {_pose_text(registration.poses[id])}'
             for id in members]
    return ''.join(f'{line}\n' for line in ['# stamp tx ty tz qx qy qz qw', *lines])


def stamp_text(stamp_ns: int) -> str:
    """Return a stamp in seconds without loss."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return f'{seconds}.{nanoseconds:09d}'


def _pose_text(T: FloatArray) -> str:
    quaternion = Rotation.from_matrix(T[:3, :3]).as_quat(canonical=True)
    return ' '.join(f'{value:.9f}' for value in (*T[:3, 3], *quaternion))
