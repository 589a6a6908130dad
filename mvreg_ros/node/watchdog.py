# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Says why nothing arrives on a topic, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import qos_check_compatible, QoSCompatibility, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

PATIENCE = 5.0  # seconds that a problem must last; nodes take a while to find one another
NAMED = 3  # topics and nodes that a message names


@dataclass(frozen=True)
class Problem:
    """What is wrong with the input, with its cure; level: of a DiagnosticStatus."""

    level: bytes
    text: str


class Watchdog:
    """
    Watches the publishers of the inputs.

    problem: what has been wrong for `PATIENCE` as of the last look, or None. A publisher that
    cannot be heard is an error; that nobody publishes, or nothing yet, is a warning, and neither
    once something has arrived: fragments come when they come.
    """

    def __init__(self, node: Node, inputs: Mapping[str, Subscription]) -> None:
        """Watch subscriptions of `node` by the names of their topics before remapping."""
        self._node = node
        self._inputs = inputs
        self._fed = False
        self._found: Problem | None = None
        self._since = monotonic()
        self.problem: Problem | None = None

    def feed(self) -> None:
        """Take note that a message has arrived."""
        self._fed = True

    def look(self) -> None:
        """Look who publishes now; a problem that is new is logged."""
        found: Problem | None = self._diagnose()
        if found and found.level == DiagnosticStatus.WARN and self._fed:
            found = None
        if found != self._found:
            self._found, self._since = found, monotonic()
        if monotonic() - self._since < PATIENCE:
            found = None
        if found and found != self.problem:
            self._node.get_logger().warning(found.text)
        self.problem = found

    def _diagnose(self) -> Problem:
        heard: dict[str, list[TopicEndpointInfo]] = {}
        for subscription in self._inputs.values():
            topic = subscription.topic_name
            publishers = self._node.get_publishers_info_by_topic(topic)
            unheard = self._unheard(subscription, publishers)
            if unheard:
                return Problem(DiagnosticStatus.ERROR, unheard)
            if publishers:
                heard[topic] = publishers
        if not heard:
            topics = ' or '.join(each.topic_name for each in self._inputs.values())
            return Problem(
                DiagnosticStatus.WARN, f'nobody publishes on {topics}: {self._elsewhere()}')
        who = ', '.join(
            f'{_nodes(each)} could publish on {topic}' for topic, each in heard.items())
        return Problem(
            DiagnosticStatus.WARN,
            f'{who}, but nothing has arrived: start the sensor or the bag; between containers, '
            'share /dev/shm (docker run --ipc=host)')

    def _unheard(
        self, subscription: Subscription, publishers: Sequence[TopicEndpointInfo],
    ) -> str | None:
        """Return why a publisher cannot be heard, with the cure, or None."""
        topic, wanted = subscription.topic_name, _type_name(subscription.msg_type)
        fitting = [each for each in publishers if each.topic_type == wanted]
        if publishers and not fitting:
            types = ', '.join(sorted({each.topic_type for each in publishers}))
            return (f'{topic} has {types} from {_nodes(publishers)} and not {wanted}: '
                    f'{self._elsewhere()}')
        for publisher in fitting:
            offered, asked = publisher.qos_profile, subscription.qos_profile
            compatibility, reason = qos_check_compatible(offered, asked)
            if compatibility == QoSCompatibility.ERROR:
                cure = (f'start the node with -p qos_overrides.{topic}.subscription.reliability:='
                        'best_effort, or make the publisher reliable'
                        if offered.reliability == ReliabilityPolicy.BEST_EFFORT
                        else 'change the QoS of the publisher')
                reason = reason.strip().removeprefix('ERROR: ').rstrip(';')
                return f'nothing arrives on {topic} from {_nodes([publisher])}: {reason}; {cure}'
        return None

    def _elsewhere(self) -> str:
        """Return the cure: topics that have the right messages, if there are such."""
        node = self._node
        own = {name for name, _ in node.get_publisher_names_and_types_by_node(
            node.get_name(), node.get_namespace())}
        wanted = {_type_name(each.msg_type) for each in self._inputs.values()}
        topics = sorted(
            name for name, types in node.get_topic_names_and_types()
            if wanted & set(types) and name not in own and node.count_publishers(name))
        remap = ' or '.join(
            f"-r {name}:={topics[0] if topics else '/that/topic'}" for name in self._inputs)
        if topics:
            return f'did you remap? There is {_some(topics)}: start the node with {remap}'
        return ('start the sensor or the bag; if it has another topic, start the node with '
                f'{remap}')


def _type_name(message: type) -> str:
    return f"{message.__module__.split('.')[0]}/msg/{message.__name__}"


def _nodes(publishers: Sequence[TopicEndpointInfo]) -> str:
    return _some(sorted({
        f"{each.node_namespace.rstrip('/')}/{each.node_name}" for each in publishers}))


def _some(names: list[str]) -> str:
    return ', '.join(names[:NAMED]) + (', ...' if len(names) > NAMED else '')
