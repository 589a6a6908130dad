# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node: fragments in, and on a service call one absolute pose for each of them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic
import traceback
from typing import Any, NoReturn

from mvreg_ros.device import select_device
from mvreg_ros.exclusion import register_without
from mvreg_ros.node.auto_register import AutoRegister
from mvreg_ros.node.exclusion import Exclusion
from mvreg_ros.node.forecast import Forecast
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.fragment_input import FragmentInput
from mvreg_ros.node.interface import SERVICES, STATUS_TOPICS
from mvreg_ros.node.job import Job
from mvreg_ros.node.outputs import NOTHING, Result, summary
from mvreg_ros.node.parameters import declare_parameters, parameter_values
from mvreg_ros.node.resources import Resources
from mvreg_ros.node.result_publisher import ResultPublisher
from mvreg_ros.node.saving import save
from mvreg_ros.node.spin import run, StoppableNode
from mvreg_ros.node.status import status
from mvreg_ros.refusal import Refusal
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.session.cache import SessionCache
from mvreg_ros.session.session import expanded
from mvreg_ros.types import InputError, Progress, RegistrationCancelled
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
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
        self._forecast = Forecast(self.get_parameter('pairs').value)
        self._changed = self.create_guard_condition(self._publish_status)
        self._job = Job(self, self._changed.trigger)
        self._saving = Job(self, self._changed.trigger)
        self._auto_register = AutoRegister(self, self._job, self._register_unasked)
        self._results = ResultPublisher(self)
        self._status_topics = [
            self.create_publisher(topic.type, topic.name, topic.qos) for topic in STATUS_TOPICS]
        callbacks = {
            '~/register': self._on_register, '~/cancel': self._on_cancel,
            '~/reset': self._on_reset, '~/save': self._on_save, '~/pause': self._on_pause,
        }
        # A coroutine that waits holds its callback group; a reentrant one is not held.
        jobs = ReentrantCallbackGroup()
        for service in SERVICES:
            self.create_service(
                service.type, service.name, callbacks[service.name], callback_group=jobs)
        self._input = FragmentInput(self, self._buffer, self._on_input)
        # A steady clock: simulated time may stand still.
        self.create_timer(
            1.0, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(
            f"method {self.get_parameter('method').value} on {self.get_parameter('device').value}")

    def stop(self, timeout: float) -> bool:
        """Cancel what runs; return whether it has ended within `timeout` seconds."""
        self._job.cancel()
        self._saving.cancel()
        self._input.stop()
        self._buffer.close()
        return self._job.join(timeout / 2) and self._saving.join(timeout / 2)

    def _on_input(self) -> None:
        self._changed.trigger()
        self._auto_register.look(len(self._buffer.fragments))

    async def _on_register(
        self, _: Trigger.Request, response: Trigger.Response,
    ) -> Trigger.Response:
        if self._job.stage is None:
            self._input.complete()
        return await self._register(response)

    async def _register(self, response: Trigger.Response) -> Trigger.Response:
        fragments, session = tuple(self._buffer.fragments), self._buffer.session
        parameters, core = parameter_values(self), parameter_values(self, core=True)
        excluded = self._exclusion.ids()
        device = select_device(self.get_parameter('device').value)

        def register(progress: Progress) -> tuple[Result, dict[str, Any]]:
            if session is None or len(fragments) < 2:
                raise InputError(
                    f'{len(fragments)} fragments held, two are needed: publish them on '
                    f'{self._input.topic}')
            self._registration.parameters.update(core)
            with closing(SessionCache(session.folder, device)) as self._registration.cache:
                registration = register_without(
                    self._registration, fragments, excluded, progress)
            result = Result(registration, fragments, parameters)
            return result, self._results.messages(result)

        if self._job.stage is None:
            self._auto_register.begun(len(fragments))
            self._forecast.begin(len(fragments) - len(excluded))
        with self._answering(response):
            result, outputs = await self._job.run(register)
            self._forecast.learn(result.registration)
            self._publish(result, outputs)
            response.message = summary(self._result.registration)
            self.get_logger().info(response.message)
        self._auto_register.look(len(self._buffer.fragments))
        return response

    async def _register_unasked(self) -> None:
        await self._register(Trigger.Response())

    async def _on_save(
        self, _: Trigger.Request, response: Trigger.Response,
    ) -> Trigger.Response:
        result, session = self._result, self._buffer.session
        with self._answering(response):
            response.message = str(await self._saving.run(lambda _: save(result, session)))
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
        self._exclusion.clear()
        try:
            self._buffer.reset()
        except Refusal as refusal:
            response.message += f'; a node started now would have them again: {refusal}'
            self.get_logger().warning(response.message)
        self._input.reset()
        self._auto_register.begun(0)
        self._publish(NOTHING, self._results.messages(NOTHING))
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

    def _publish(self, result: Result, outputs: dict[str, Any]) -> None:
        """Make a result that of the node."""
        self._result = result
        self._results.publish(result, outputs)
        if self._input.odometry is not None:
            self._input.odometry.map_to_odom.update(result)

    def _look(self) -> None:
        self._input.look()
        self._publish_status()

    def _publish_status(self) -> None:
        stage = self._job.stage
        resources = Resources.of(self._buffer, self.get_parameter('device').value)
        problems = [*self._input.problems, *([resources.problem] if resources.problem else [])]
        message = status(
            self.get_fully_qualified_name(), self.get_clock().now().to_msg(), self._buffer,
            self._forecast.told(stage, monotonic()) if stage else {},
            self._result.registration.seconds, resources, problems)
        for topic in self._status_topics:
            topic.publish(message)

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
