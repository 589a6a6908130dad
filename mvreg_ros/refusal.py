# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Why a cloud is refused: the codes that `~/status` counts, each with its cure."""

from __future__ import annotations

from mvreg_ros.types import InputError

CURES = {
    'empty': 'publish fragments that hold points',
    'no_xyz': 'give x, y and z each one FLOAT32 or FLOAT64 field',
    'bad_size': 'make data hold height * row_step bytes and row_step width * point_step',
    'not_finite': 'check the sensor: no point has three finite coordinates',
    'too_far': 'shift the coordinates to a local origin and use metres',
    'too_few_points': 'publish larger fragments or lower voxel_size',
    'no_frame_id': 'set header.frame_id',
    'bad_stamp': 'keep header.stamp.sec at 0 or more and header.stamp.nanosec below 1000000000',
    'stamp_repeated': 'stamp each fragment with the time it was taken, or call ~/reset first',
    'buffer_full': 'raise max_fragments or call ~/reset',
    'lost': 'publish with history keep_all (ros2 bag play: see docs/bags.md), or slower',
    'paused': 'call ~/pause with false to take fragments again',
    'no_transform': 'publish odometry on /tf, and the mount of the camera, up to prior.frame',
    'disk': 'free or mend the disk of session.directory and send the fragment again',
    'damaged': 'take the file from a backup; fragments after a lost one have moved up in number',
    'missing': 'put the file back; fragments after a lost one have moved up in number',
    'newer_version': 'update mvreg_ros to go on with that session',
    'in_use': 'give each node a session.directory of its own',
}


class Refusal(InputError):
    """A cloud that is not taken: `reason` is a key of CURES, the message ends with the cure."""

    def __init__(self, reason: str, what: str) -> None:
        """Join what is wrong with the cure of `reason`."""
        super().__init__(f'{reason}: {what}; {CURES[reason]}')
        self.reason = reason
