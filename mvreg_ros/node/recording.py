# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A mapping session between real processes, and all that came out of it on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass
import json
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

from mvreg_ros.commands.console import ProgressReport, say
from mvreg_ros.data.point_cloud2 import points_from_cloud
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.node.consumer import Consumer, poses_by_stamp
from mvreg_ros.node.interface import INPUT, LATCHED, OUTPUTS
from mvreg_ros.types import FloatArray
import nav_msgs.msg
import numpy as np
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

PATIENCE = 600.0  # seconds for what takes seconds, or two minutes on a slow machine
TRUTH, TRAJECTORY = 'simulated_robot/ground_truth', 'simulated_robot/trajectory'


class SessionFailed(RuntimeError):
    """A process died, or a service answered no."""


@dataclass(frozen=True)
class Recording:
    """
    What a consumer has after a session; fragments are known by their stamps, nanoseconds.

    clouds: (N, 3) as published. poses: T_map_fragment. truth: T_world_fragment. trajectory: (F, 3)
    in the world. map_points: (M, 3), map_colors: (M, 3) red, green, blue. graph: the JSON of
    ~/graph. frames: the parents in TF by their children. seconds: by stage. saved: the folder of
    ~/save.
    """

    clouds: dict[int, NDArray[np.float32]]
    poses: dict[int, FloatArray]
    truth: dict[int, FloatArray]
    trajectory: FloatArray
    map_points: NDArray[np.float32]
    map_colors: NDArray[np.uint8]
    graph: dict[str, Any]
    frames: dict[str, str]
    seconds: dict[str, float]
    saved: Path


def record_session(seed: int, rooms: int, fragments: int, directory: Path) -> Recording:
    """
    Start node and robot, register what the robot publishes, have it saved under `directory`.

    Raises SessionFailed or TimeoutError.
    """
    consumer = Consumer()
    children: dict[str, subprocess.Popen] = {}

    def until(condition: Callable[[], bool], what: str) -> None:
        consumer.until(lambda: alive(children) and condition(), what, PATIENCE)

    with ExitStack() as stack:
        settings: dict[str, object] = {'session.directory': str(directory)}
        children['node'] = stack.enter_context(process('registration_node', settings))
        until(lambda: bool(consumer.status), 'the node')
        settings = {'seed': seed, 'rooms': rooms, 'fragments': fragments}
        children['robot'] = stack.enter_context(process('simulated_robot', settings))
        until(lambda: consumer.status['fragments'] == str(fragments), 'a fragment')

        answer = consumer.call(Trigger, '~/register')
        report = StatusReport()
        until(lambda: report.shown(consumer.status) and answer.done(), 'the registration')
        report.close()
        say(granted(answer))
        clouds = listen_late(consumer, fragments)
        answer = consumer.call(Trigger, '~/save')
        until(answer.done, 'the saved folder')
        saved = Path(granted(answer))
    return recording(consumer, clouds, saved)


def listen_late(consumer: Consumer, fragments: int) -> list[PointCloud2]:
    """Join when all is published, wait for what is latched, return the robot's fragments."""
    clouds: list[PointCloud2] = []
    qos = QoSProfile(depth=fragments, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    consumer.create_subscription(INPUT.type, INPUT.name, clouds.append, qos)
    wanted = {topic.name: topic.type for topic in OUTPUTS} | {
        TRUTH: nav_msgs.msg.Path, TRAJECTORY: nav_msgs.msg.Path, '/tf_static': TFMessage}
    for topic, type in wanted.items():
        consumer.listen(type, topic, LATCHED)
    consumer.until(
        lambda: len(clouds) == fragments and wanted.keys() <= consumer.received.keys(),
        'a latched topic', PATIENCE)
    return clouds


def recording(consumer: Consumer, clouds: list[PointCloud2], saved: Path) -> Recording:
    """Return what the messages hold; raise SessionFailed if no fragment was placed."""
    received = consumer.received
    if not received['~/path'].poses:
        raise SessionFailed('no fragment was placed')
    points = received['~/map']
    return Recording(
        clouds={
            nanoseconds_from_stamp(cloud.header.stamp): points_from_cloud(cloud)
            for cloud in clouds
        },
        poses=poses_by_stamp(received['~/path']),
        truth=poses_by_stamp(received[TRUTH]),
        trajectory=np.array([
            (pose.pose.position.x, pose.pose.position.y, pose.pose.position.z)
            for pose in received[TRAJECTORY].poses
        ]),
        map_points=points_from_cloud(points),
        map_colors=np.frombuffer(points.data, np.uint8).reshape(-1, 16)[:, 14:11:-1],
        graph=json.loads(received['~/graph'].data),
        frames={
            transform.child_frame_id: transform.header.frame_id
            for transform in received['/tf_static'].transforms
        },
        seconds={
            key.removeprefix('seconds.'): float(value)
            for key, value in consumer.status.items() if key.startswith('seconds.')
        },
        saved=saved,
    )


@contextmanager
def process(module: str, parameters: Mapping[str, object]) -> Iterator[subprocess.Popen]:
    """
    Run a module of this package in a process of its own and interrupt it at the end.

    Raises SessionFailed if it does not end well then.
    """
    # JSON is YAML, which ROS reads: a path may hold anything.
    command = [sys.executable, '-m', f'mvreg_ros.node.{module}', '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={json.dumps(value)}']
    # A session of its own keeps Ctrl-C away from it, so that the end is in one place.
    child = subprocess.Popen(command, start_new_session=True)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.returncode:
        raise SessionFailed(f'{module} ended with exit code {child.returncode}')


def alive(children: Mapping[str, subprocess.Popen]) -> bool:
    """Return True; raise SessionFailed if one of the processes has ended."""
    for name, child in children.items():
        if child.poll() is not None:
            raise SessionFailed(f'the {name} ended early, with exit code {child.returncode}')
    return True


def granted(answer: Future) -> str:
    """Return the message of a service; raise SessionFailed if it says no."""
    response: Any = answer.result()
    if not response.success:
        raise SessionFailed(response.message)
    return response.message


class StatusReport(ProgressReport):
    """Shows the progress that ~/status tells of, in percent."""

    percent = 0

    def shown(self, status: Mapping[str, str]) -> bool:
        """Show what is new in `status`; return True."""
        percent = round(100 * float(status['progress'] or 0))
        if percent > self.percent:
            self.percent = percent
            self('registration', percent, 100)
        return True
