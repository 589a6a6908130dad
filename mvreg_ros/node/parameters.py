# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table of parameters as ROS parameters."""

from __future__ import annotations

from mvreg_ros.parameters import BY_NAME, nearest, Parameter, PARAMETERS, Value
from mvreg_ros.types import InputError
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

CURES = {float: ', write 1.0 and not 1', str: ", quote what looks like a number: \"'1'\""}


def declare_parameters(node: Node) -> None:
    """
    Declare every row of the table on `node`, and warn about overrides that are in no row.

    Raises InputError if an override has the wrong type or lies out of range.
    """
    node.add_on_set_parameters_callback(_check)
    for parameter in PARAMETERS:
        try:
            node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))
        except InvalidParameterTypeException as error:
            raise InputError(f'{error}{CURES.get(type(parameter.default), "")}') from error
        except InvalidParameterValueException as error:
            raise InputError(str(error)) from error
    # rclpy keeps overrides that nobody declares to itself and says nothing: a typo would pass.
    for name in getattr(node, '_parameter_overrides', {}):
        if not (node.has_parameter(name) or name.startswith('qos_overrides.')):
            node.get_logger().warning(f'unknown parameter {name}{nearest(name)}')


def parameter_values(node: Node, *, core: bool = False) -> dict[str, Value]:
    """Return the values that `node` holds now, `core`: only those of the registration."""
    return {
        parameter.name: node.get_parameter(parameter.name).value
        for parameter in PARAMETERS if not (core and parameter.node_only)
    }


def _check(parameters: list) -> SetParametersResult:
    """Accept values that the table allows; ROS checks types and ranges but no choices."""
    for parameter in parameters:
        if parameter.name in BY_NAME:
            try:
                BY_NAME[parameter.name].check(parameter.value)
            except InputError as error:
                return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows."""
    descriptor = ParameterDescriptor(
        description=parameter.description, read_only=parameter.read_only)
    if parameter.choices:
        descriptor.additional_constraints = 'one of: ' + ', '.join(parameter.choices)
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor
