# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of the parameter table as options of the command line."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace

from mvreg_ros.parameters import Parameter, PARAMETERS, Value

OFFLINE = tuple(parameter for parameter in PARAMETERS if not parameter.node_only)


def add_parameters(parser: ArgumentParser) -> None:
    """Add an option for each parameter that means something offline."""
    group = parser.add_argument_group('parameters')
    for parameter in OFFLINE:
        name = f"--{parameter.name.replace('_', '-')}"
        group.add_argument(name, dest=parameter.name, **_options(parameter))


def _options(parameter: Parameter) -> dict:
    default = 'none' if parameter.default == '' else parameter.default
    text = f'{parameter.description} Default: {default}.'.replace('%', '%%')
    if isinstance(parameter.default, bool):
        return {'action': BooleanOptionalAction, 'default': parameter.default, 'help': text}
    return {'type': type(parameter.default), 'default': parameter.default, 'help': text,
            'choices': parameter.choices or None,
            'metavar': None if parameter.choices else type(parameter.default).__name__.upper()}


def parameter_values(args: Namespace) -> dict[str, Value]:
    """Return the parameters on the command line; raises InputError for one out of range."""
    return {parameter.name: parameter.check(getattr(args, parameter.name))
            for parameter in OFFLINE}
