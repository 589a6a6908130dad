# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
`mvreg doctor`: what is installed, what will be used, what is missing and how to get it.

What the package requires is imported by name, so that this file works where all of it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, metadata
import os
import platform
import re
import sys
import warnings

# Shared libraries that Open3D expects from the system, and the Debian packages that have them.
DEBIAN_PACKAGES = {
    'libEGL.so.1': 'libegl1',
    'libGL.so.1': 'libgl1',
    'libX11.so.6': 'libx11-6',
    'libidn2.so.0': 'libidn2-0',
    'libudev.so.1': 'libudev1',
    'libusb-1.0.so.0': 'libusb-1.0-0',
}
REQUIRED = (
    'numpy', 'scipy', 'torch', 'small_gicp', 'gtsam', 'networkx', 'transforms3d', 'pypcd4', 'yaml',
    'jinja2', 'psutil', 'threadpoolctl', 'tqdm', 'safetensors', 'rosbags',
)
MESSAGES = (
    'diagnostic_msgs', 'geometry_msgs', 'nav_msgs', 'sensor_msgs', 'std_msgs', 'std_srvs',
    'visualization_msgs',
)
# Where ROS lacks one of these, the node uses its own few functions in place of it.
REPLACED = ('tf2_ros', 'sensor_msgs_py', 'tf_transformations')
OPTIONAL = {
    'open3d': "simulation and demo: pip install 'mvreg_ros[simulate]'",
    'matplotlib': "plots and demo: pip install 'mvreg_ros[simulate]'",
    'tensorboard': "training: pip install 'mvreg_ros[train]'",
    'ray': "several machines: pip install 'mvreg_ros[ray]'",
    'MinkowskiEngine': 'only for sparse_engine minkowski, torch needs nothing: make minkowski',
}
DISTRIBUTIONS = {'yaml': 'pyyaml', 'open3d': 'open3d-cpu'}
ROS_CURE = (
    'only the node needs it: source a ROS 2 installation, '
    "or pip install 'mvreg_ros[ros-pypi]'"
)
NATIVE_CURE = 'sparse convolution in half the time: sudo apt-get install gcc libc6-dev'
TF2_MSGS_CURE = 'apt package ros-DISTRO-tf2-msgs; without a ROS installation: make setup builds it'


@dataclass(frozen=True)
class Row:
    """One thing that was looked at; `cure` says how to get it where `found` is not enough."""

    name: str
    ok: bool
    found: str
    cure: str = ''


def version_of(name: str) -> str:
    """Return the version of a module that is imported, '' where it tells none."""
    version = getattr(sys.modules[name], '__version__', '')
    if isinstance(version, str) and version:
        return version
    for distribution in (name, DISTRIBUTIONS.get(name, name)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return ''


def check_module(name: str, cure: str, required: bool = True) -> Row:
    """Import a module; where a shared library is missing, the cure names its Debian package."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # what a module has to say on its import
            import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return Row(name, not required, 'not installed', cure)
        return Row(name, False, f'broken: {error}', f'pip install {error.name}')
    except Exception as error:  # a broken module may raise anything
        text = str(error).strip().split('\n')[-1]
        library = re.search(r'(lib\S+?\.so[.\d]*): cannot open', text)
        package = DEBIAN_PACKAGES.get(library[1]) if library else None
        return Row(name, False, f'broken: {text}',
                   f'sudo apt-get install {package}' if package else cure)
    return Row(name, True, version_of(name) or 'installed')


def check_python() -> Row:
    """Look at the interpreter."""
    ok = sys.version_info >= (3, 10)
    return Row('python', ok, platform.python_version(), '' if ok else 'use Python 3.10 or newer')


def check_device() -> Row:
    """Say what the device `auto` is on this machine."""
    try:
        device = import_module('mvreg_ros.device').select_device('auto')
    except ImportError:
        return Row('device', False, 'unknown without torch', 'pip install torch')
    return Row('device', True, f'auto is {device}')


def check_native_kernel() -> Row:
    """Say where the native kernel is, or why there is none."""
    kernel = import_module('mvreg_ros.native.library').native_kernel()
    return Row('native kernel', True, kernel.status, '' if kernel.library else NATIVE_CURE)


def check_middleware() -> Row:
    """Load the middleware of ROS and say which it is."""
    try:
        name = import_module('rclpy.utilities').get_rmw_implementation_identifier()
    except Exception as error:  # an rmw that cannot be loaded raises RuntimeError
        return Row('middleware', False, str(error).strip().split('\n')[-1], ROS_CURE)
    return Row('middleware', True, name)


def check_ros() -> list[Row]:
    """Look at ROS, its messages and the packages that have a replacement."""
    rclpy = check_module('rclpy', ROS_CURE)
    if not rclpy.ok:
        return [rclpy]
    distribution = os.environ.get('ROS_DISTRO', 'from PyPI')
    rows = [Row('rclpy', True, f'{rclpy.found} ({distribution})'), check_middleware()]
    missing = [row for row in (check_module(name, ROS_CURE) for name in MESSAGES) if not row.ok]
    rows += missing or [Row('messages', True, f'{len(MESSAGES)} packages')]
    rows.append(check_module('tf2_msgs', TF2_MSGS_CURE))
    for name in REPLACED:
        row = check_module(name, '', required=False)
        own = row.found == 'not installed'
        rows.append(Row(name, True, "the package's own few functions") if own else row)
    return rows


def check() -> list[Row]:
    """Look at everything the package can use; nothing is raised for what is missing."""
    rows = [check_python()]
    for name in REQUIRED:
        rows.append(check_module(name, f'pip install {DISTRIBUTIONS.get(name, name)}'))
    rows += [check_device(), check_native_kernel()]
    rows += check_ros()
    rows += [check_module(name, cure, required=False) for name, cure in OPTIONAL.items()]
    return rows


def main() -> int:
    """Print the table; return 1 where something that is required is missing or broken."""
    rows = check()
    for row in rows:
        mark = 'ok' if row.ok else 'MISSING'
        cure = f'  ->  {row.cure}' if row.cure else ''
        print(f'{mark:8}{row.name:20}{row.found}{cure}')  # noqa: T201
    missing = [row.name for row in rows if not row.ok]
    print(f'missing: {", ".join(missing)}' if missing else 'nothing is missing')  # noqa: T201
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
