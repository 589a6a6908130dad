# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A structured-light depth camera: ray casting, and the errors measured on real ones."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.simulate.meshes import Mesh
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray
import open3d as o3d
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter, zoom

Depth = NDArray[np.float32]

# Steps of the inverse depth of a Kinect, 1/m: 2.3 mm at 1 m, 19 mm at 2.6 m.
DISPARITY_STEP = 2.85e-3
NEAREST, FARTHEST = 0.45, 4.0


@dataclass(frozen=True)
class Camera:
    """
    A pinhole camera without distortion.

    The centre of pixel (u, v) is at (u + 0.5, v + 0.5), as in Open3D's ray casting and fusion.
    """

    width: int = 320
    height: int = 240
    focal: float = 292.5

    @property
    def matrix(self) -> FloatArray:
        """(3, 3) intrinsic matrix."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2],
                         [0, 0, 1]])

    def points(self, depth: Depth) -> FloatArray:
        """Return the points of an image, (N, 3), in the camera frame; depth 0 is no point."""
        v, u = np.nonzero(depth)
        z = depth[v, u].astype(float)
        pixels = np.stack([u + 0.5, v + 0.5, np.ones(len(u))], 1)
        return pixels @ np.linalg.inv(self.matrix).T * z[:, None]


def scene_of(mesh: Mesh) -> o3d.t.geometry.RaycastingScene:
    """Return the mesh ready for ray casting."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(mesh.vertices.astype(np.float32)),
        o3d.core.Tensor.from_numpy(mesh.faces.astype(np.uint32)),
    )
    return scene


def true_depth(
    scene: o3d.t.geometry.RaycastingScene, camera: Camera, T_world_camera: FloatArray
) -> tuple[Depth, Depth]:
    """
    Return depth along z (m), inf where nothing is hit, and the cosine of the angle of incidence.

    Both are (height, width).
    """
    T_camera_world = o3d.core.Tensor.from_numpy(np.linalg.inv(T_world_camera))
    rays = scene.create_rays_pinhole(
        o3d.core.Tensor.from_numpy(camera.matrix), T_camera_world, camera.width, camera.height
    )
    hits = scene.cast_rays(rays)
    directions = rays.numpy()[..., 3:]
    cosine = np.abs(np.einsum('vux,vux->vu', hits['primitive_normals'].numpy(), directions))
    length = np.sqrt(np.einsum('vux,vux->vu', directions, directions))
    return hits['t_hit'].numpy(), cosine / length


@dataclass(frozen=True)
class DepthSensor:
    """
    The errors of one sensor; `distortion` of depth, (height, width), is relative and constant.

    Axial noise and its growth with depth: Nguyen, Izadi, Lovell 2012, "Modeling Kinect sensor
    noise for improved 3D reconstruction and tracking".
    """

    camera: Camera
    distortion: Depth

    @staticmethod
    def random(rng: np.random.Generator, camera: Camera) -> DepthSensor:
        """Return a sensor whose depth is wrong by some permille, slowly varying over the image."""
        coarse = rng.normal(0, rng.uniform(0.001, 0.004), (4, 5))
        smooth = zoom(coarse, (camera.height / 4, camera.width / 5), order=3)
        return DepthSensor(camera, smooth.astype(np.float32))

    def measure(self, rng: np.random.Generator, depth: Depth, cosine: Depth) -> Depth:
        """Return what the sensor reports of a true image, (height, width), 0 where nothing."""
        clean = np.minimum(depth, 2 * FARTHEST)
        near, far = minimum_filter(clean, 3), maximum_filter(clean, 3)
        # Neighbouring pixels share a part of their noise: they are matched by common windows.
        noise = rng.standard_normal(depth.shape, np.float32)
        noise = 0.6 * noise + 0.6 * 3 * uniform_filter(noise, 3)
        chance = rng.random((4, *depth.shape), np.float32)
        sigma = 0.0012 + 0.0019 * np.maximum(clean - 0.4, 0) ** 2
        disparity = 1 / (clean * (1 + self.distortion) + sigma * noise)
        seen = 1 / (np.maximum(np.round(disparity / DISPARITY_STEP), 1) * DISPARITY_STEP)
        edge = far - near > 0.05 + 0.02 * near
        flying = edge & (chance[1] < 0.4)
        seen[flying] = (near + (far - near) * chance[0])[flying]
        lost = edge & (chance[2] < 0.6)
        lost |= chance[3] > np.minimum((cosine - 0.03) / 0.15, 0.99)
        lost |= (seen < NEAREST) | (seen > FARTHEST)
        return np.where(lost, 0, seen).astype(np.float32)
