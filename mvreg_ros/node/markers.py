# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pose graph of `map` as RViz markers."""

from __future__ import annotations

from colorsys import hsv_to_rgb

from geometry_msgs.msg import Point, Vector3
from mvreg_ros.types import Registration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

NODE = ColorRGBA(r=0.2, g=0.5, b=1.0, a=1.0)
LABEL = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
REJECTED = ColorRGBA(r=0.5, g=0.5, b=0.5, a=0.3)


def markers(registration: Registration, header: Header, size: float) -> MarkerArray:
    """
    Return nodes, edges, rejected edges and labels of the fragments in `map`.

    size: width of an edge, metres. The first marker deletes what RViz kept from an earlier graph.
    """
    points = {
        id: Point(**dict(zip('xyz', registration.poses[id, :3, 3].tolist(), strict=True)))
        for id in registration.members(0)
    }
    nodes = _marker(header, 'nodes', Marker.SPHERE_LIST, 6 * size, NODE)
    nodes.points = list(points.values())
    used = _marker(header, 'edges', Marker.LINE_LIST, size)
    rejected = _marker(header, 'rejected', Marker.LINE_LIST, size, REJECTED)
    edges = registration.edges
    for i, j, confidence, is_used in zip(
            edges.i.tolist(), edges.j.tolist(), edges.confidence, edges.used, strict=True):
        if i in points and j in points:
            (used if is_used else rejected).points += [points[i], points[j]]
            if is_used:
                used.colors += 2 * [confidence_color(confidence)]
    labels = []
    for id, point in points.items():
        label = _marker(header, 'labels', Marker.TEXT_VIEW_FACING, 8 * size, LABEL)
        label.id, label.text = id, str(id)
        label.pose.position = Point(x=point.x, y=point.y, z=point.z + 8 * size)
        labels.append(label)
    # RViz complains of lists without points.
    lists = [marker for marker in (nodes, used, rejected) if marker.points]
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL), *lists, *labels])


def confidence_color(confidence: float) -> ColorRGBA:
    """Return red for 0, green for 1, the hue in between."""
    red, green, blue = hsv_to_rgb(confidence / 3, 1.0, 1.0)
    return ColorRGBA(r=red, g=green, b=blue, a=1.0)


def _marker(
    header: Header, namespace: str, kind: int, size: float, color: ColorRGBA | None = None,
) -> Marker:
    marker = Marker(header=header, ns=namespace, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=size, y=size, z=size)
    marker.color = color or ColorRGBA()
    return marker
