# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topics, services and frames of the node, which it creates from here; the README's tables."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from nav_msgs.msg import Path
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

# Fragments are few, large and precious. Best effort loses clouds above half a megabyte; keep last
# drops in silence what comes faster than it is taken.
FRAGMENTS = QoSProfile(history=HistoryPolicy.KEEP_ALL)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATUS = QoSProfile(depth=10)
DEPTH_FRAMES = QoSProfile(depth=20)


@dataclass(frozen=True)
class Topic:
    """A topic by its name before remapping; `~` is the node's own name."""

    name: str
    type: type
    qos: QoSProfile
    meaning: str


@dataclass(frozen=True)
class Service:
    """A service by its name before remapping."""

    name: str
    type: type
    meaning: str


@dataclass(frozen=True)
class Frame:
    """A frame of the TF tree, with the frame it hangs under."""

    name: str
    parent: str
    meaning: str


INPUT = Topic(
    'fragments', PointCloud2, FRAGMENTS,
    'Point-cloud fragments, each in a frame of its own; `x`, `y`, `z` as float32 or float64 in '
    'any layout.',
)
DEPTH_INPUT = Topic(
    'frames', PointCloud2, DEPTH_FRAMES,
    'With `prior.frame`: clouds of a depth camera, fused to fragments by the odometry on TF.',
)
TF = Topic(
    '/tf', TFMessage, QoSProfile(depth=100),
    'With `prior.frame`: the odometry in, and `map` -> odometry out, 20 times a second.',
)
TF_STATIC = Topic(
    '/tf_static', TFMessage, QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    'With `prior.frame`: where the camera sits on the robot in, and always the frames below out.',
)
STATUS_TOPICS = (
    Topic(
        '~/status', DiagnosticArray, STATUS,
        'Once a second and on change: `fragments`; `stage`, and `progress` (0 to 1) and `eta` '
        '(seconds) of the whole registration; `problem` with its cure; `memory_mb` of the '
        'process, `fragments_mb` of it for fragments, `disk_free_mb`, below 1000 a warning, and '
        'with CUDA `gpu_memory_mb`, all in MiB; `seconds.<stage>` of the last registration; '
        '`refused.<reason>` counters.',
    ),
    Topic('/diagnostics', DiagnosticArray, STATUS, "The same, for the robot's own monitors."),
)
OUTPUTS = (
    Topic(
        '~/poses', PoseArray, LATCHED,
        'One pose for each fragment placed in `map`, in the order of ids.',
    ),
    Topic(
        '~/path', Path, LATCHED,
        'The same poses, each with the stamp of its fragment, so that a consumer can join them.',
    ),
    Topic(
        '~/markers', MarkerArray, LATCHED,
        'For RViz: fragments, labels, edges from red (confidence 0) to green (1), rejected edges '
        'in grey.',
    ),
    Topic('~/map', PointCloud2, LATCHED, 'All fragments placed in `map`, a colour for each.'),
    Topic(
        '~/graph', String, LATCHED,
        'Open3D PoseGraph as JSON, with ids, stamps, components, and the confidence, verdict and '
        'reason of each edge.',
    ),
)
SERVICES = (
    Service(
        '~/register', Trigger,
        'Register all fragments held. Answers when done, with a summary; `busy` at once while one '
        'runs. Fragments that arrive meanwhile wait for the next call.',
    ),
    Service('~/cancel', Trigger, 'Stop the registration that runs.'),
    Service(
        '~/reset', Trigger,
        'Stop a registration, begin the next session without fragments and result, and empty the '
        'latched outputs and `/tf_static`. The old session stays on the disk. TF listeners that '
        'run already keep static frames: restart them to lose the old ones.',
    ),
    Service(
        '~/save', Trigger,
        'Write the last result to a numbered folder in the folder of the session, also while a '
        'registration runs; answers its path.',
    ),
    Service('~/pause', SetBool, 'true: refuse fragments. false: take them again.'),
)
FRAMES = (
    Frame('map', '', 'The largest connected part of the session.'),
    Frame('map_1', '', 'And `map_2`, ...: parts that nothing links to `map`.'),
    Frame('fragment_0000', 'map', 'The frame of fragment 0 once it is placed; static.'),
    Frame(
        'odom', 'map',
        'The frame that `prior.frame` names, once a fragment of the present run of odometry is '
        'placed: with it the last such fragment is where it was registered (REP-105).',
    ),
)
