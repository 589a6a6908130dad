# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of the pages and config/register.yaml: python -m mvreg_ros.node.docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
import re
from textwrap import fill

from mvreg_ros.node.interface import (
    DEPTH_INPUT,
    FRAMES,
    INPUT,
    OUTPUTS,
    SERVICES,
    STATUS_TOPICS,
    TF,
    TF_STATIC,
)
from mvreg_ros.parameters import Parameter, PARAMETERS, Value
from mvreg_ros.reasons import REASONS
from mvreg_ros.refusal import CURES
from rclpy.qos import HistoryPolicy, QoSProfile
import yaml

PAGES = ('README.md', 'docs/report.md', 'docs/troubleshooting.md')
HEADER = '# Every parameter with its default; written by python -m mvreg_ros.node.docs.'


def tables() -> dict[str, str]:
    """Return the Markdown table of each marked section of the pages by its name."""
    topics = [
        ('in', INPUT), ('in', DEPTH_INPUT), ('both', TF), ('both', TF_STATIC),
        *(('out', topic) for topic in (*OUTPUTS, *STATUS_TOPICS))]
    return {
        'topics': _table(('way', 'topic', 'type', 'QoS', 'meaning'), (
            (way, f'`{topic.name}`', _type_name(topic.type), _qos_text(topic.qos), topic.meaning)
            for way, topic in topics
        )),
        'services': _table(('service', 'type', 'meaning'), (
            (f'`{service.name}`', _type_name(service.type), service.meaning)
            for service in SERVICES
        )),
        'parameters': _table(('parameter', 'default', 'allowed', 'meaning'), (
            (f'`{parameter.name}`', f'`{_yaml_value(parameter.default)}`', _allowed(parameter),
             parameter.description + ' Read at start.' * parameter.read_only)
            for parameter in PARAMETERS
        )),
        'frames': _table(('frame', 'parent', 'meaning'), (
            (f'`{frame.name}`', f'`{frame.parent}`' if frame.parent else '', frame.meaning)
            for frame in FRAMES
        )),
        'refusals': _table(('reason', 'cure'), (
            (f'`{reason}`', cure) for reason, cure in CURES.items()
        )),
        'reasons': _table(('reason', 'meaning'), (
            (f'`{reason}`', meaning) for reason, meaning in REASONS.items()
        )),
    }


def with_tables(text: str) -> str:
    """Return `text` with each table between its markers, <!-- begin:topics --> and so on."""
    for name, table in tables().items():
        begin, end = f'<!-- begin:{name} -->', f'<!-- end:{name} -->'
        section = f'{begin}\n{table}{end}'
        text = re.sub(f'{begin}.*?{end}', lambda _: section, text, flags=re.DOTALL)  # noqa: B023
    return text


def parameters_yaml() -> str:
    """Return the parameter file of the node with the defaults, a comment for each."""
    lines = [HEADER, '/**:', '  ros__parameters:']
    group = ''
    for parameter in PARAMETERS:
        *groups, name = parameter.name.split('.')
        if groups and groups[0] != group:
            group = groups[0]
            lines.append(f'    {group}:')
        indent = '      ' if groups else '    '
        allowed = f' Allowed: {_allowed(parameter)}.' if _allowed(parameter) else ''
        comment = fill(parameter.description + allowed, 99, initial_indent=f'{indent}# ',
                       subsequent_indent=f'{indent}# ')
        lines += [comment, f'{indent}{name}: {_yaml_value(parameter.default)}']
    return '\n'.join(lines) + '\n'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f"| {' | '.join(line)} |\n" for line in lines)


def _type_name(kind: type) -> str:
    package, namespace, _ = kind.__module__.split('.', 2)
    return f'{package}/{namespace}/{kind.__name__}'


def _qos_text(qos: QoSProfile) -> str:
    history = 'keep all' if qos.history == HistoryPolicy.KEEP_ALL else f'last {qos.depth}'
    return ', '.join([
        qos.reliability.name.lower().replace('_', ' '),
        qos.durability.name.lower().replace('_', ' '), history])


def _allowed(parameter: Parameter) -> str:
    if parameter.choices:
        return ', '.join(parameter.choices)
    if parameter.minimum is not None:
        return f'{parameter.minimum} to {parameter.maximum}'
    return ''


def _yaml_value(value: Value) -> str:
    return yaml.safe_dump(value).removesuffix('\n').removesuffix('\n...')


def main() -> None:
    """Bring the files of the repository in the working directory up to date."""
    for page in map(Path, PAGES):
        page.write_text(with_tables(page.read_text(encoding='utf-8')), encoding='utf-8')
    Path('config/register.yaml').write_text(parameters_yaml(), encoding='utf-8')


if __name__ == '__main__':
    main()
