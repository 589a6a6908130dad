# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the wheel holds and installs, and that its declarations agree with the code."""

from __future__ import annotations

import ast
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree
from zipfile import ZipFile

from ament_index_python.packages import get_package_share_directory
import mvreg_ros
from mvreg_ros.doctor import DISTRIBUTIONS, REQUIRED
from packaging.requirements import Requirement
import pytest

ROOT = Path(__file__).parents[1]
EXECUTABLES = {'mvreg', 'registration_node'}
ROSDEP = {
    name: f'python3-{name}'
    for name in (
        'jinja2', 'networkx', 'numpy', 'psutil', 'scipy', 'tqdm', 'transforms3d', 'yaml')
}
ROS = re.compile(r'rclpy|launch|launch_ros|ament_index_python|tf2_ros|tf_transformations'
                 r'|\w+_(msgs|srvs|interfaces|msgs_py)')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from a copy so that nothing stale gets into it."""
    folder = tmp_path_factory.mktemp('wheel')
    unwanted = shutil.ignore_patterns(
        '.*', 'build', 'install', 'log', 'demo_out', '__pycache__', '*.egg-info')
    shutil.copytree(ROOT, folder / 'source', ignore=unwanted)
    pip('wheel', '--no-build-isolation', '--no-deps', '--wheel-dir', str(folder),
        str(folder / 'source'))
    return next(folder.glob('*.whl'))


@pytest.fixture(scope='module')
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prefix with the wheel installed."""
    folder = tmp_path_factory.mktemp('prefix')
    pip('install', '--no-deps', '--no-index', '--ignore-installed', '--no-compile',
        '--prefix', str(folder), str(wheel))
    return folder


@pytest.fixture(scope='module')
def metadata(wheel: Path) -> Message:
    """Return the metadata in the wheel."""
    return Parser().parsestr(read(wheel, 'dist-info/METADATA'))


@pytest.fixture(scope='module')
def manifest() -> ElementTree.Element:
    """Return the content of package.xml."""
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def pip(*arguments: str) -> None:
    """Run pip, offline."""
    subprocess.run([sys.executable, '-m', 'pip', '--quiet', *arguments], check=True,
                   env={**os.environ, 'PIP_NO_INDEX': '1', 'PIP_DISABLE_PIP_VERSION_CHECK': '1'})


def read(wheel: Path, ending: str) -> str:
    """Return the text of the file in the wheel with this ending."""
    with ZipFile(wheel) as archive:
        name, = (name for name in archive.namelist() if name.endswith(ending))
        return archive.read(name).decode()


def imported(folder: str) -> set[str]:
    """Return the top-level packages that the files in a folder import, at any depth."""
    names: set[str] = set()
    for file in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split('.')[0])
    return names - set(sys.stdlib_module_names) - {'mvreg_ros'}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if '.dist-info/' not in name}
    data = 'mvreg_ros-0.1.0.data/data'
    package = {name for name in names if not name.startswith(data)}
    assert package == {str(file.relative_to(ROOT)) for file in (ROOT / 'mvreg_ros').rglob('*.*')
                       if file.suffix != '.pyc'}
    share = {f'{data}/share/mvreg_ros/{file.relative_to(ROOT)}'
             for folder in ('launch', 'config') for file in (ROOT / folder).rglob('*.*')}
    assert names - package == share | {
        f'{data}/share/mvreg_ros/package.xml',
        f'{data}/share/ament_index/resource_index/packages/mvreg_ros',
        *(f'{data}/lib/mvreg_ros/{file.name}' for file in (ROOT / 'libexec').iterdir()),
    }


def test_entry_points_exist(wheel: Path) -> None:
    entry_points = ConfigParser()
    entry_points.read_string(read(wheel, 'dist-info/entry_points.txt'))
    scripts = dict(entry_points['console_scripts'])
    assert set(scripts) == EXECUTABLES
    for target in scripts.values():
        module, function = target.split(':')
        tree = ast.parse((ROOT / (module.replace('.', '/') + '.py')).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_commands_run_where_they_are_installed(prefix: Path) -> None:
    site, = prefix.glob('lib/python*/site-packages')
    environment = {
        **os.environ, 'PYTHONPATH': f'{site}:{os.environ.get("PYTHONPATH", "")}',
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    version = subprocess.run([prefix / 'bin/mvreg', '--version'], env=environment, cwd=prefix,
                             capture_output=True, text=True, check=True)
    assert version.stdout == f'mvreg_ros {mvreg_ros.__version__}\n'

    # As ros2 run and launch files find it; the value is refused once the node reads it.
    node = subprocess.run(
        [prefix / 'lib/mvreg_ros/registration_node', '--ros-args', '-p', 'voxel_size:=-1.0'],
        env=environment, cwd=prefix, capture_output=True, text=True)
    assert node.returncode != 0
    assert 'voxel_size' in node.stderr


def test_ros_finds_what_is_installed(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(prefix))
    share = Path(get_package_share_directory('mvreg_ros'))
    assert share == prefix / 'share/mvreg_ros'
    assert (share / 'launch/register.launch.py').is_file()
    assert (share / 'config/register.yaml').is_file()
    for wrapper in (prefix / 'lib/mvreg_ros').iterdir():
        assert os.access(wrapper, os.X_OK)


def test_package_xml_agrees_with_setup_py(
    manifest: ElementTree.Element, metadata: Message,
) -> None:
    assert manifest.get('format') == '3'
    maintainer = manifest.find('maintainer')
    assert maintainer is not None
    for tag, expected in (
        ('name', metadata['Name'].replace('-', '_')),
        ('version', metadata['Version']),
        ('description', metadata['Summary']),
        ('license', metadata['License-Expression'] or metadata['License']),
        ('author', metadata['Author']),
        ('maintainer', metadata['Maintainer']),
        ('export/build_type', 'ament_python'),
    ):
        assert manifest.findtext(tag) == expected
    assert maintainer.get('email') == metadata['Maintainer-email']
    assert metadata['Version'] == mvreg_ros.__version__


def test_what_is_imported_is_declared_and_the_other_way_round(
    manifest: ElementTree.Element, metadata: Message,
) -> None:
    needed = imported('mvreg_ros')
    by_extra: dict[str, set[str]] = {}
    for requirement in map(Requirement, metadata.get_all('Requires-Dist', [])):
        extra = re.search(r'extra == "(.+?)"', str(requirement.marker or ''))
        by_extra.setdefault(extra[1] if extra else '', set()).add(requirement.name.lower())
    from_pypi = {DISTRIBUTIONS.get(name, name) for name in needed if not ROS.fullmatch(name)}
    assert from_pypi == by_extra[''] | by_extra['ray'] | by_extra['simulate'] - {'open3d'}
    assert {DISTRIBUTIONS.get(name, name) for name in REQUIRED} == by_extra['']
    own = {'benchmarks', *(file.stem for file in (ROOT / 'test').glob('*.py'))}
    for_tests = {re.sub('^ament_', 'ros-ament-', DISTRIBUTIONS.get(name, name))
                 for name in (imported('test') | imported('benchmarks')) - own
                 if not ROS.fullmatch(name)}
    assert for_tests <= set().union(*by_extra.values())

    declared = {element.text for element in manifest.findall('exec_depend')}
    ros = {name for name in needed | imported('launch') if ROS.fullmatch(name)}
    assert declared == ros | {ROSDEP[name] for name in needed & set(ROSDEP)}
