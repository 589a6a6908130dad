# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Configurations: dataclasses that are read from YAML files.

A field is a bool, int, float, str, a tuple of one of these, or a dataclass of fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, MISSING
import difflib
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, TypeVar

from mvreg_ros.data.files import read_text
from mvreg_ros.training.optimization import LoopConfig
from mvreg_ros.types import InputError
import yaml

Config = TypeVar('Config')


@dataclass(frozen=True)
class DataConfig:
    """
    Where the scenes are: folders as `mvreg simulate` writes them, or patterns such as rooms/s*.

    train, validation: never the same scene in both.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True)
class StageConfig:
    """What the configurations of all stages have."""

    data: DataConfig
    loop: LoopConfig


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raises InputError where there is none."""
    try:
        values = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f'{path}: holds no settings: write name: value')
    return values


def as_config(kind: type[Config], values: Mapping[str, Any], where: str = '') -> Config:
    """
    Return the dataclass `kind` with these values.

    where: what comes before the names in messages. Raises InputError for a name that does not
    exist, with the nearest one, for one that is missing, a wrong type and a value out of range.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1)
            remark = f'did you mean {close[0]}?' if close else f"there are {', '.join(names)}"
            raise InputError(f'{where}{name}: no such setting, {remark}')
    for field in fields(kind):  # type: ignore[arg-type]
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in values:
            raise InputError(f'{where}{field.name}: is missing and has no default: set it')
    types = get_type_hints(kind)
    converted = {name: _as_type(types[name], value, f'{where}{name}')
                 for name, value in values.items()}
    try:
        return kind(**converted)
    except ValueError as error:
        raise InputError(f'{where}{error}') from error


def _as_type(kind: Any, value: Any, where: str) -> Any:
    """Return the value of a field; a whole number is a float too, a list a tuple."""
    if is_dataclass(kind) and isinstance(value, dict):
        return as_config(kind, value, f'{where}.')  # type: ignore[arg-type]
    if get_origin(kind) is tuple and isinstance(value, list):
        element, *others = get_args(kind)
        if others != [...] and len(value) != 1 + len(others):
            raise InputError(f'{where}: must have {1 + len(others)} entries, not {len(value)}')
        return tuple(_as_type(element, item, f'{where}[{k}]') for k, item in enumerate(value))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        name = 'list' if get_origin(kind) else 'mapping' if is_dataclass(kind) else kind.__name__
        # YAML 1.1 takes 1e-3 for a text: a number has a point.
        cure = ', write 1.0e-3 and not 1e-3' if kind is float and isinstance(value, str) else ''
        raise InputError(f'{where}: must be of type {name}, not {value!r}{cure}')
    return value


def differences(before: Mapping[str, Any], now: StageConfig, free: set[str]) -> list[str]:
    """Return what is not as it was in `asdict` of a configuration, but for the names `free`."""
    old, new = _flat(before), _flat(asdict(now))
    return [f'{name} was {old.get(name)!r} and is {new.get(name)!r}'
            for name in sorted({*old, *new} - free) if old.get(name) != new.get(name)]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a nested mapping under names such as loop.steps."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= {f'{name}.{inner}': v for inner, v in _flat(value).items()}
        else:
            result[name] = value
    return result
