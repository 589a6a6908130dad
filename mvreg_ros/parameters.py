# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The one table of parameters: the node declares it, the command line and the README show it.

A name with a dot is nested in the yaml. Ranges are inclusive. Units stand in the description.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import difflib

from mvreg_ros.exclusion import parse_ids
from mvreg_ros.types import InputError

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """
    A parameter: its type is that of its default.

    minimum, maximum: inclusive range of a number. choices: the strings allowed, where not empty.
    parse: raises InputError for a string that may not be set. read_only: read once at start.
    node_only: no option of the pipeline, and so of no offline command.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    parse: Callable[[str], object] | None = None
    read_only: bool = False
    node_only: bool = False

    def check(self, value: object) -> Value:
        """Return `value` if it may be set; raise InputError with the cure otherwise."""
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            cure = ', write 1.0 and not 1' if kind is float else ''
            raise InputError(f'{self.name} must be {kind.__name__}{cure}: got {value!r}')
        if self.choices and value not in self.choices:
            allowed = ', '.join(self.choices)
            raise InputError(f'{self.name} must be one of {allowed}: got {value!r}')
        if self.parse is not None and isinstance(value, str):
            try:
                self.parse(value)
            except InputError as error:
                raise InputError(f'{self.name}: {error}') from error
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = self.minimum, self.maximum
            if not ((low is None or value >= low) and (high is None or value <= high)):
                raise InputError(f'{self.name} must lie in [{low}, {high}]: got {value}')
        return value


PARAMETERS = (
    Parameter(
        'method', 'consistency',
        'How matches become poses. consistency: the rigid motion that most matches agree on, '
        'robustly synchronised. lmpcr: the registration and confidence blocks of the paper.',
        choices=('consistency', 'lmpcr'), read_only=True,
    ),
    Parameter(
        'features', 'cylinder',
        'How fragments are described. cylinder: learned, its weights are in the package. fpfh: '
        'nothing learned. fcgf: the network of the paper, with the weights of the parameter '
        'weights.',
        choices=('cylinder', 'fpfh', 'fcgf'), read_only=True,
    ),
    Parameter(
        'weights', '',
        'A .safetensors file, as mvreg weights convert or mvreg train writes it, in the place of '
        'the weights in the package.',
        read_only=True,
    ),
    Parameter(
        'sparse_engine', 'torch',
        'What computes the sparse convolutions of features fcgf. torch: our own, needs nothing '
        'else. minkowski: MinkowskiEngine where it is installed, on the CPU only.',
        choices=('torch', 'minkowski'), read_only=True,
    ),
    Parameter(
        'device', 'auto', 'auto, cpu, cuda or cuda:1. auto takes CUDA where torch finds it.',
        read_only=True,
    ),
    Parameter(
        'voxel_size', 0.025,
        'Edge of the voxels that fragments are thinned to, metres. Everything scales with it.',
        minimum=0.001, maximum=10.0, read_only=True,
    ),
    Parameter(
        'pairs', 'all',
        'Which pairs of fragments are tried. all: each with each. auto: those that look alike and '
        'fit at a first look at few keypoints, then those that overlap by the poses so far or may '
        'link parts: three to seven for each fragment. For many fragments, and method '
        'consistency.',
        choices=('all', 'auto'), read_only=True,
    ),
    Parameter(
        'min_confidence', 0.6,
        'Edges with less local confidence than this are pruned (tau_p of the paper, 0.85 there). '
        'Method consistency spares the best links between parts that nothing else joins.',
        minimum=0.0, maximum=1.0,
    ),
    Parameter(
        'refine', True, 'Refine with GICP on the kept edges and a final pose-graph optimisation.',
    ),
    Parameter(
        'exclude', '',
        'Ids of fragments that registrations leave out, such as 3 7 12-15; a single one as 3-3, '
        'because 3 alone is a number to ROS. They stay in the session; ~/reset empties this.',
        parse=parse_ids, node_only=True,
    ),
    Parameter(
        'max_fragments', 1000,
        'Fragments held in memory; more are refused with reason buffer_full.',
        minimum=2, maximum=1000000, node_only=True,
    ),
    Parameter('map_frame', 'map', 'Frame of the poses.', read_only=True, node_only=True),
    Parameter(
        'fragment_frame_prefix', 'fragment_', 'TF child frames are this plus the four-digit id.',
        read_only=True, node_only=True,
    ),
    Parameter(
        'publish_tf', True,
        'Publish map -> fragment frames on /tf_static and, with prior.frame, map -> odom on /tf.',
        node_only=True,
    ),
    Parameter(
        'prior.frame', '',
        'Frame of the odometry on TF, such as odom. Fragments then carry their pose in it, which '
        'links what registration cannot; frames are fused to fragments; map -> odom is published. '
        'Empty: none of it.',
        read_only=True, node_only=True,
    ),
    Parameter(
        'frames.minimum_travel_distance', 0.05,
        'A frame is left out if the camera has moved less since the last one, metres, and turned '
        'less than frames.minimum_travel_heading.',
        minimum=0.0, maximum=100.0, read_only=True, node_only=True,
    ),
    Parameter(
        'frames.minimum_travel_heading', 0.05, 'The same for the angle about any axis, radians.',
        minimum=0.0, maximum=3.15, read_only=True, node_only=True,
    ),
    Parameter(
        'frames.maximum_frames', 50, 'A fragment ends with so many frames.',
        minimum=1, maximum=10000, read_only=True, node_only=True,
    ),
    Parameter(
        'frames.maximum_travel_distance', 1.0,
        'A fragment ends before the camera is farther from where the fragment began, metres.',
        minimum=0.0, maximum=100.0, read_only=True, node_only=True,
    ),
    Parameter(
        'frames.maximum_travel_heading', 1.0,
        'A fragment ends before the camera has turned farther from how the fragment began, about '
        'any axis, radians.',
        minimum=0.0, maximum=3.15, read_only=True, node_only=True,
    ),
    Parameter(
        'frames.maximum_range', 4.0,
        'Points of a frame that are farther from the camera are dropped, metres.',
        minimum=0.1, maximum=1000.0, read_only=True, node_only=True,
    ),
    Parameter(
        'auto_register.every', 0,
        'Register without being asked after so many accepted fragments; while a registration runs '
        'the next waits. 0: only when ~/register is called.',
        minimum=0, maximum=1000000, node_only=True,
    ),
    Parameter(
        'session.directory', '~/.ros/mvreg',
        'Folder of the sessions: session_0001, ... hold the fragments that were accepted and, in '
        'numbered folders, what ~/save writes. A node that is started again goes on with the '
        'last; ~/reset begins the next.',
        read_only=True, node_only=True,
    ),
)

BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def defaults() -> dict[str, Value]:
    """Return every parameter with its default."""
    return {parameter.name: parameter.default for parameter in PARAMETERS}


def nearest(name: str) -> str:
    """Return a remark that names the parameter most like `name`, or nothing."""
    close = difflib.get_close_matches(name, BY_NAME, n=1)
    return f', did you mean {close[0]}?' if close else ''


def checked(values: dict[str, object]) -> dict[str, Value]:
    """Return defaults overridden by `values`; raise InputError on a wrong name, type or range."""
    result = defaults()
    for name, value in values.items():
        if name not in BY_NAME:
            raise InputError(f'unknown parameter {name!r}{nearest(name)}')
        result[name] = BY_NAME[name].check(value)
    return result
