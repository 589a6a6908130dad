# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parameter `exclude`: fragments that registrations leave out until it is changed."""

from __future__ import annotations

from mvreg_ros.exclusion import check_held, parse_ids
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.types import InputError
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

NAME = 'exclude'


class Exclusion:
    """
    What `exclude` names of the fragments held.

    Ids that nobody has yet are refused when somebody sets them, but not at the start: the
    parameter file may be for a session that is still to come.
    """

    def __init__(self, node: Node, buffer: FragmentBuffer) -> None:
        """Watch over the parameter of `node`, which is declared."""
        self._node, self._buffer = node, buffer
        node.add_on_set_parameters_callback(self._check)

    def ids(self) -> frozenset[int]:
        """Return the ids of fragments held that are left out."""
        excluded = parse_ids(self._node.get_parameter(NAME).value)
        return excluded & frozenset(range(len(self._buffer.fragments)))

    def clear(self) -> None:
        """Leave out nothing: ids are those of one session."""
        self._node.set_parameters([Parameter(NAME, value='')])

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == NAME:
                try:
                    check_held(parse_ids(parameter.value), len(self._buffer.fragments))
                except InputError as error:
                    return SetParametersResult(successful=False, reason=f'{NAME}: {error}')
        return SetParametersResult(successful=True)
