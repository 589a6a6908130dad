# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node: fragments in, and on a service call one absolute pose for each of them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import copy
from time import monotonic
import traceback
from typing import Any, NoReturn

from mvreg_ros.data.point_cloud2 import points_from_cloud
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.device import select_device
from mvreg_ros.exclusion import register_without
from mvreg_ros.node.auto_register import AutoRegister
from mvreg_ros.node.exclusion import Exclusion
from mvreg_ros.node.forecast import Forecast
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.interface import DEPTH_INPUT, INPUT, OUTPUTS, SERVICES, STATUS_TOPICS
from mvreg_ros.node.job import Job
from mvreg_ros.node.odometry import Odometry
from mvreg_ros.node.outputs import messages, NOTHING, Result, summary, transforms
from mvreg_ros.node.parameters import declare_parameters, parameter_values
from mvreg_ros.node.resources import Resources
from mvreg_ros.node.ros_compat import StaticTransformBroadcaster
from mvreg_ros.node.saving import save
from mvreg_ros.node.spin import run, StoppableNode
from mvreg_ros.node.status import status
from mvreg_ros.node.watchdog import Watchdog
from mvreg_ros.refusal import CURES, Refusal
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.session.cache import SessionCache
from mvreg_ros.session.session import expanded
from mvreg_ros.types import Fragment, InputError, Progress, RegistrationCancelled
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger


class RegistrationNode(StoppableNode):
    """Buffers fragments, registers them in a thread and publishes the result."""

    def __init__(self, **options: Any) -> None:
        """Raise InputError if a parameter or the device cannot be used."""
        super().__init__('mvreg', **options)
        declare_parameters(self)
        self._registration = MultiviewRegistration.from_pretrained(
            **parameter_values(self, core=True))
        self._buffer = FragmentBuffer(
            self._registration.prepare, self.get_parameter('voxel_size').value,
            expanded(self.get_parameter('session.directory').value))
        self._exclusion = Exclusion(self, self._buffer)
        self._result = NOTHING
        self._forecast = Forecast()
        self._changed = self.create_guard_condition(self._publish_status)
        self._job = Job(self, self._changed.trigger)
        self._saving = Job(self, self._changed.trigger)
        self._auto_register = AutoRegister(self, self._job, self._register_unasked)
        # One logger for each reason, because throttling is by logger and line.
        self._refusal_loggers = {reason: self.get_logger().get_child(reason) for reason in CURES}
        self._broadcaster = StaticTransformBroadcaster(self)
        self._topics: dict[str, Any] = {
            topic.name: self.create_publisher(topic.type, topic.name, topic.qos)
            for topic in (*OUTPUTS, *STATUS_TOPICS)
        }
        callbacks = {
            '~/register': self._on_register, '~/cancel': self._on_cancel,
            '~/reset': self._on_reset, '~/save': self._on_save, '~/pause': self._on_pause,
        }
        # A coroutine that waits holds its callback group; a reentrant one is not held.
        jobs = ReentrantCallbackGroup()
        for service in SERVICES:
            self.create_service(
                service.type, service.name, callbacks[service.name], callback_group=jobs)
        self._subscription = self.create_subscription(
            INPUT.type, INPUT.name, self._on_cloud,
            copy(INPUT.qos),  # overrides are written into it
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_message_lost),
        )
        self._resume()
        self._odometry = (
            Odometry(self, self._buffer.fragments, self._check, self._take, self._refuse)
            if self.get_parameter('prior.frame').value else None)
        depth = {DEPTH_INPUT.name: self._odometry.subscription} if self._odometry else {}
        self._watchdog = Watchdog(self, {INPUT.name: self._subscription, **depth})
        # A steady clock: simulated time may stand still.
        self.create_timer(
            1.0, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(
            f'taking fragments on {self._subscription.topic_name} '
            f'({self._subscription.qos_profile.reliability.name.lower()}), '
            f"{self.get_parameter('method').value} on {self.get_parameter('device').value}")

    def stop(self, timeout: float) -> bool:
        """Cancel what runs; return whether it has ended within `timeout` seconds."""
        self._job.cancel()
        self._saving.cancel()
        if self._odometry is not None:
            self._odometry.close_fragments(self._keep)
        self._buffer.close()
        return self._job.join(timeout / 2) and self._saving.join(timeout / 2)

    def _resume(self) -> None:
        """Go on with the last session, and say what of it is lost."""
        for refusal in self._buffer.resume():
            self._buffer.refused[refusal.reason] += 1
            self.get_logger().warning(f'left out of the session: {refusal}')
        if self._buffer.session is not None:
            self.get_logger().info(
                f'going on with the {len(self._buffer.fragments)} fragments of '
                f'{self._buffer.session.folder}; call ~/reset to begin a new session')

    def _on_cloud(self, cloud: PointCloud2) -> None:
        try:
            stamp_ns = nanoseconds_from_stamp(cloud.header.stamp)
            frame_id = cloud.header.frame_id
            self._check(stamp_ns, frame_id)
            fragment = Fragment(points_from_cloud(cloud), stamp_ns=stamp_ns, frame_id=frame_id)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if self._odometry is None:
            self._take(fragment)
        else:
            self._odometry.locate(fragment)

    def _check(self, stamp_ns: int, frame_id: str) -> None:
        self._watchdog.feed()
        self._buffer.check(stamp_ns, frame_id, self.get_parameter('max_fragments').value)

    def _take(self, fragment: Fragment) -> None:
        try:
            self._keep(fragment)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._changed.trigger()
        self._auto_register.look(len(self._buffer.fragments))

    def _keep(self, fragment: Fragment) -> None:
        """Hold a fragment; raises Refusal."""
        self._check(fragment.stamp_ns, fragment.frame_id)
        self._buffer.add(fragment)
        if fragment.stamp_ns == 0:
            self.get_logger().warning(
                'fragments have stamp zero: their poses in ~/path cannot be told apart; set '
                'header.stamp', once=True)

    def _on_message_lost(self, event: Any) -> None:
        self._refuse(
            Refusal('lost', f'{event.total_count} were overwritten before they could be sent'),
            event.total_count_change)

    def _refuse(self, refusal: Refusal, count: int = 1) -> None:
        self._watchdog.feed()
        self._buffer.refused[refusal.reason] += count
        self._refusal_loggers[refusal.reason].warning(
            f'cloud refused: {refusal}', throttle_duration_sec=5.0)
        self._changed.trigger()

    async def _on_register(
        self, _: Trigger.Request, response: Trigger.Response,
    ) -> Trigger.Response:
        if self._odometry is not None and self._job.stage is None:
            self._odometry.close_fragments(self._keep)
        return await self._register(response)

    async def _register(self, response: Trigger.Response) -> Trigger.Response:
        fragments, session = tuple(self._buffer.fragments), self._buffer.session
        excluded = self._exclusion.ids()
        device = select_device(self.get_parameter('device').value)

        def register(progress: Progress) -> tuple[Result, dict[str, Any]]:
            if session is None or len(fragments) < 2:
                raise InputError(
                    f'{len(fragments)} fragments held, two are needed: publish them on '
                    f'{self._subscription.topic_name}')
            self._registration.parameters.update(parameter_values(self, core=True))
            with closing(SessionCache(session.folder, device)) as self._registration.cache:
                registration = register_without(
                    self._registration, fragments, excluded, progress)
            result = Result(registration, fragments)
            return result, self._messages(result)

        if self._job.stage is None:
            self._auto_register.begun(len(fragments))
            self._forecast.begin(len(fragments) - len(excluded))
        with self._answering(response):
            self._result, outputs = await self._job.run(register)
            self._forecast.learn(self._result.registration)
            self._publish(outputs)
            self._publish_tf(outputs['~/poses'].header)
            response.message = summary(self._result.registration)
            self.get_logger().info(response.message)
        self._auto_register.look(len(self._buffer.fragments))
        return response

    async def _register_unasked(self) -> None:
        await self._register(Trigger.Response())

    async def _on_save(
        self, _: Trigger.Request, response: Trigger.Response,
    ) -> Trigger.Response:
        result, session, parameters = self._result, self._buffer.session, parameter_values(self)
        with self._answering(response):
            response.message = str(
                await self._saving.run(lambda _: save(result, session, parameters)))
            self.get_logger().info(f'saved {response.message}')
        return response

    def _on_cancel(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._job.cancel()
        response.message = 'cancelling' if response.success else 'no registration runs'
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._job.cancel()
        response.success = True
        response.message = f'forgot {len(self._buffer.fragments)} fragments'
        try:
            self._exclusion.clear()
            self._buffer.reset()
        except Refusal as refusal:
            response.message += f'; a node started now would have them again: {refusal}'
            self.get_logger().warning(response.message)
        if self._odometry is not None:
            self._odometry.reset()
        self._auto_register.begun(0)
        self._result = NOTHING
        outputs = self._messages(NOTHING)
        self._publish(outputs)
        self._publish_tf(outputs['~/poses'].header)
        self._changed.trigger()
        self.get_logger().info(
            'reset; TF listeners that run already keep the static frames they have: restart them '
            'to lose these')
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._buffer.paused = request.data
        self._changed.trigger()
        response.success = True
        response.message = 'fragments are ' + ('refused' if request.data else 'taken')
        return response

    def _messages(self, result: Result) -> dict[str, Any]:
        """Return the messages of all latched outputs."""
        header = Header(
            stamp=self.get_clock().now().to_msg(), frame_id=self.get_parameter('map_frame').value)
        return messages(result, header, self.get_parameter('voxel_size').value)

    def _publish(self, outputs: dict[str, Any]) -> None:
        for name, message in outputs.items():
            self._topics[name].publish(message)

    def _publish_tf(self, header: Header) -> None:
        """Latch the frames of the present result in place of all that were sent before."""
        # A broadcaster repeats whatever it once sent, so that each result needs one of its own.
        self.destroy_publisher(self._broadcaster.pub_tf)
        self._broadcaster = StaticTransformBroadcaster(self)
        if self._odometry is not None:
            self._odometry.map_to_odom.update(self._result)
        wanted = self.get_parameter('publish_tf').value
        self._broadcaster.sendTransform(transforms(
            (self._result if wanted else NOTHING).registration, header,
            self.get_parameter('fragment_frame_prefix').value))

    def _look(self) -> None:
        self._watchdog.look()
        self._publish_status()

    def _publish_status(self) -> None:
        stage = self._job.stage
        resources = Resources.of(self._buffer, self.get_parameter('device').value)
        problems = [each for each in (self._watchdog.problem, resources.problem) if each]
        message = status(
            self.get_fully_qualified_name(), self.get_clock().now().to_msg(), self._buffer,
            self._forecast.told(stage, monotonic()) if stage else {},
            self._result.registration.seconds, resources, problems)
        for topic in STATUS_TOPICS:
            self._topics[topic.name].publish(message)

    @contextmanager
    def _answering(self, response: Trigger.Response) -> Iterator[None]:
        """Answer success, or what went wrong: the one place where a job may fail."""
        try:
            yield
            response.success = True
        except (InputError, RegistrationCancelled) as error:
            response.success, response.message = False, str(error)
            self.get_logger().warning(response.message)
        except Exception as error:
            response.success, response.message = False, f'{type(error).__name__}: {error}'
            self.get_logger().error(traceback.format_exc())


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, and end the process."""
    run(RegistrationNode, args)


if __name__ == '__main__':
    main()
