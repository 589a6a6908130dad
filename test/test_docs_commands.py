# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Every example of README.md and docs/ is run, or checked as far as can be where it cannot run.

What the examples say to a node is said to a node: its parameters, topics and services answer.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
import re
import runpy
import sys

from bag_files import write_bag
from documentation import Block, blocks, calls, ROOT
from mvreg_ros.cli import build_parser, main
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.node.interface import DEPTH_INPUT, INPUT, OUTPUTS, SERVICES, STATUS_TOPICS
from mvreg_ros.node.registration_node import RegistrationNode
from mvreg_ros.session.session import Session
from node_session import cloud_of, participant, views
import pytest
from ray.scripts.scripts import cli as ray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rclpy.parameter import get_parameter_value, Parameter
import yaml

# Examples that are not run, and why. What they say of this package is checked all the same:
# executables, options, parameters, topics, services and files.
CHECKED_ONLY = {
    'mvreg evaluate *': 'needs 3DMatch; test_cli.py evaluates a small scene',
    'mvreg register * --ray *': 'needs a cluster; test_ray.py starts one',
    'mvreg register * --features fcgf *': 'needs published weights; test_weights.py makes such',
    'mvreg benchmark *': 'takes minutes; test_benchmark_command.py runs one',
    'mvreg simulate *': 'takes minutes; test_simulate_command.py simulates a small flat',
    'mvreg train *': 'takes hours; test_train_command.py trains on a small scene',
    'mvreg weights *': 'needs published weights; test_weights_command.py makes such',
    'torchrun *': 'takes hours',
    'python -m *': 'takes minutes, or writes here; benchmarks and trainings have tests',
    'make *': 'is what runs the tests',
    'git *': 'needs the network',
    'pip *': 'needs the network; test_packaging.py installs the wheel',
    'python3 *': 'makes an environment; make setup makes one',
    'source *': 'reads files of ROS, or of an environment',
    'sudo *': 'installs packages of Debian',
    'colcon *': 'needs a ROS installation',
    'ray *': 'starts what outlives the test; test_ray.py starts a cluster',
    'rviz2 *': 'needs a ROS installation',
    'ros2 *': 'needs a ROS installation; what it tells the node is told to a node',
}
PROGRAMS = {pattern.split()[0] for pattern in CHECKED_ONLY} | {'registration_node'}
SHELL = blocks('bash')
TOPICS = {each.name for each in (INPUT, DEPTH_INPUT, *OUTPUTS, *STATUS_TOPICS)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder that has what the examples take for granted: clouds, a bag, a session."""
    # The voxels of the defaults fit clouds of this size.
    fragments = [replace(each, points=each.points / 4) for each in views(3)]
    (tmp_path / 'scans').mkdir()
    for name, k in (('scans/0', 0), ('scans/1', 1), ('scans/2', 2), ('a', 0), ('b', 1)):
        (tmp_path / f'{name}.ply').write_bytes(encode_ply(fragments[k].points))
    lines = [' '.join(map(str, point)) for point in fragments[2].points.tolist()]
    (tmp_path / 'c.pcd').write_text('\n'.join([
        'VERSION .7', 'FIELDS x y z', 'SIZE 4 4 4', 'TYPE F F F', 'COUNT 1 1 1',
        f'WIDTH {len(lines)}', 'HEIGHT 1', f'POINTS {len(lines)}', 'DATA ascii', *lines, '']))
    write_bag(tmp_path / 'rosbag2_2026_05_01',
              [('/robot/fragments', cloud_of(each)) for each in fragments])
    stored = Session.create(tmp_path / '.ros/mvreg')
    for fragment in fragments:
        stored.append(fragment)
    stored.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    return tmp_path


@contextmanager
def node_of(*arguments: str) -> Iterator[RegistrationNode]:
    """Yield a node that has these arguments after --ros-args; it has to know all parameters."""
    with participant(*arguments) as context:
        node = RegistrationNode(context=context)
        try:
            unknown = [name for name in node._parameter_overrides if not node.has_parameter(name)]
            assert not unknown
            yield node
        finally:
            node.stop(10)
            node.destroy_node()


def check_mvreg(arguments: list[str]) -> None:
    """Parse, and look for the settings of a training."""
    args = build_parser().parse_args(arguments)
    if args.command == 'train':
        assert (ROOT / args.config).is_file()


def check_torchrun(arguments: list[str]) -> None:
    """Check what it starts in each process."""
    start = arguments.index('-m')
    assert arguments[start + 1] == 'mvreg_ros.cli'
    check_mvreg(arguments[start + 2:])


def check_python(arguments: list[str]) -> None:
    """Look for a module, and for the options of ours in its help."""
    option, module, *rest = arguments
    assert option == '-m' and find_spec(module)
    if module == 'pytest':
        assert all((ROOT / file).is_file() for file in rest)
    elif rest:
        text = StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(text):
            patch.setattr(sys, 'argv', [module, '--help'])
            patch.delitem(sys.modules, module, raising=False)
            with pytest.raises(SystemExit):
                runpy.run_module(module, run_name='__main__')
        for word in rest:
            assert not word.startswith('--') or re.search(rf'{word}\b', text.getvalue()), word


def check_make(arguments: list[str]) -> None:
    """Look for the targets."""
    text = (ROOT / 'Makefile').read_text()
    for target in arguments:
        assert re.search(rf'^{target}:', text, re.MULTILINE), target


def check_pip(arguments: list[str]) -> None:
    """Look for the extras."""
    for extra in re.findall(r'mvreg_ros\[(.*)\]', ' '.join(arguments)):
        assert f"        '{extra}': [" in (ROOT / 'setup.py').read_text()


def check_ray(arguments: list[str]) -> None:
    """Parse."""
    name, *rest = arguments
    command = ray.commands[name]
    command.make_parser(command.make_context('ray', [], resilient_parsing=True)).parse_args(rest)


def check_ros2(arguments: list[str]) -> None:
    """Tell a node what is told to the node, and look for what is started."""
    match arguments:
        case ['launch', 'mvreg_ros', file, *settings]:
            check_launch(file, settings)
        case ['run', 'mvreg_ros', executable, *rest]:
            assert (ROOT / 'libexec' / executable).is_file()
            run(executable, rest)
        case ['service', 'call', service, type, *request]:
            kind, = (each.type for each in SERVICES if absolute(each.name) == service)
            assert type == f"{kind.__module__.split('.')[0]}/srv/{kind.__name__}"
            kind.Request(**yaml.safe_load(' '.join(request) or '{}'))
        case ['param', verb, '/mvreg', name, *value]:
            with node_of('-p', 'prior.frame:=odom') as node:
                assert node.has_parameter(name)
                if verb == 'set':
                    given = get_parameter_value(string_value=' '.join(value))
                    message = ParameterMessage(name=name, value=given)
                    result, = node.set_parameters([Parameter.from_parameter_msg(message)])
                    assert result.successful, result.reason
        case ['topic', 'echo' | 'hz' | 'info', *words]:
            topics = {absolute(each) for each in TOPICS}
            assert [word for word in words if word in topics], words
        case ['bag' | 'pkg' | 'security' | 'param' | 'daemon', *_]:
            pass  # nothing in it is ours but files, and the test looks for those
        case _:
            pytest.fail(f'nothing checks ros2 {arguments}')


def check_launch(file: str, settings: list[str]) -> None:
    """Look for the arguments in the launch file; no node is started."""
    tree = ast.parse((ROOT / 'launch' / file).read_text(encoding='utf-8'))
    known = {
        ast.literal_eval(call.args[0]) for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == 'DeclareLaunchArgument'}
    for setting in settings:
        if setting != '-s':
            assert setting.partition(':=')[0] in known, setting


def absolute(name: str) -> str:
    """Return the name of a topic or service of a node called mvreg in the namespace /."""
    return '/' + name.replace('~', 'mvreg').removeprefix('/')


CHECKS: dict[str, Callable[[list[str]], None]] = {
    'mvreg': check_mvreg, 'torchrun': check_torchrun, 'python': check_python, 'make': check_make,
    'pip': check_pip, 'ray': check_ray, 'ros2': check_ros2,
}


def run(program: str, arguments: list[str]) -> None:
    """Run an example of a program of ours; a node starts and ends."""
    if program == 'mvreg':
        assert main(arguments) == 0
    elif program == 'registration_node':
        assert not arguments or arguments[0] == '--ros-args'
        for old in re.findall(r'(?:^| )-r (\S+):=', ' '.join(arguments)):
            assert old in TOPICS or old in ('__ns', '__node'), old
        with node_of(*arguments[1:]):
            pass
    else:
        pytest.fail(f'{program} is neither run nor in CHECKED_ONLY')


@pytest.mark.parametrize('block', SHELL, ids=str)
def test_the_examples_for_the_shell(block: Block, home: Path) -> None:
    for file in re.findall(r'\bconfig/[\w/.]+', block.text):
        assert (ROOT / file).is_file(), file
    for program, *arguments in calls(block, home, PROGRAMS):
        line = ' '.join([program, *arguments])
        if program in CHECKS:
            CHECKS[program](arguments)
        if not any(fnmatchcase(line, pattern) for pattern in CHECKED_ONLY):
            run(program, arguments)


def test_no_row_of_the_table_is_stale(tmp_path: Path) -> None:
    """Each says of at least one example that it is not run."""
    lines = []
    for k, block in enumerate(SHELL):
        (tmp_path / str(k)).mkdir()
        lines += [' '.join(call) for call in calls(block, tmp_path / str(k), PROGRAMS)]
    for pattern in CHECKED_ONLY:
        assert any(fnmatchcase(line, pattern) for line in lines), pattern


@pytest.mark.parametrize('block', blocks('python'), ids=str)
def test_the_examples_in_python(block: Block, home: Path) -> None:
    """They may use clouds, and what `mvreg register scans/ --out result` has left."""
    assert main(['register', 'scans/', '--out', 'result']) == 0
    exec(block.text, {'clouds': [each.points / 4 for each in views(3)]})


@pytest.mark.parametrize('block', blocks('yaml'), ids=str)
def test_the_examples_of_parameter_files(block: Block, home: Path) -> None:
    """The QoS in a file is that of a topic that the example remaps an input to."""
    file = home / 'params.yaml'
    file.write_text(block.text)
    name = (DEPTH_INPUT if 'prior:' in block.text else INPUT).name
    remaps = [f'{name}:={topic}' for topic in re.findall(r'^ +(/\S+):$', block.text, re.MULTILINE)]
    with node_of('--params-file', str(file), *(word for each in remaps for word in ('-r', each))):
        pass


def test_each_block_has_a_language() -> None:
    """So that none is left out by mistake: one without a language is the contents of a folder."""
    assert [block for block in blocks('') if not re.match(r'[\w/]+\.\w+ ', block.text)] == []
    assert {block.language for block in blocks('.*')} <= {'', 'bash', 'python', 'yaml'}
