# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Make .venv with everything the package needs; where it is up to date, do nothing.

Needs only the standard library. Where a ROS 2 installation is sourced, that ROS is used; otherwise
ROS comes from PyPI. The stamp is written last, so that an interrupted set-up is begun anew.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
import runpy
import shutil
import subprocess
import sys
import time

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
STAMP = VENV / 'setup.stamp'
PYTHON = VENV / 'bin' / 'python'
MINORS = (10, 11, 12, 13)
TORCH = 'torch==2.13.0'
TORCH_CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
# A change of any of these runs the set-up again.
SOURCES = ('setup.py', 'setup.cfg', 'tools/*.py')
# By file and not by import, because the package's requirements are not installed yet.
LIBRARIES = runpy.run_path(str(ROOT / 'mvreg_ros' / 'doctor.py'))['DEBIAN_PACKAGES']
# Prints: minor version, base interpreter, has venv, has C headers, missing libraries.
PROBE = """
import ctypes, importlib.util, os, sys, sysconfig
print(sys.version_info[1] if sys.version_info[0] == 3 else 0)
print(getattr(sys, '_base_executable', sys.executable))
print(int(all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip'))))
print(int(os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h'))))
for library in sys.argv[1:]:
    try:
        ctypes.CDLL(library)
    except OSError:
        print(library)
"""


def output(*command: str | Path) -> str | None:
    """Return what `command` prints, or None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def sourced_ros() -> str:
    """Return the name of the ROS distribution that is sourced, '' where there is none."""
    works = 'ROS_DISTRO' in os.environ and output('python3', '-c', 'import rclpy') is not None
    return os.environ['ROS_DISTRO'] if works else ''


def stamp(ros: str) -> str:
    """Return what .venv is made for: where it is and for which ROS, then a hash of the rest."""
    content = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            content.update(path.read_bytes())
    return f'{VENV} {ros}\n{content.hexdigest()}\n'


def find_python(ros: str) -> list[str]:
    """Return what PROBE prints for the Python to use; exit where there is none."""
    names = ['python3']
    if not ros:
        names += [f'python3.{minor}' for minor in reversed(MINORS)]
    for name in names:
        lines = (output(name, '-c', PROBE, *LIBRARIES) or '0').split('\n')
        if int(lines[0]) in MINORS:
            return lines[:-1]
    sys.exit(f'setup: needs Python 3.{MINORS[0]} to 3.{MINORS[-1]}, and there is none on the PATH')


def install_system_packages(ros: str, probe: list[str]) -> None:
    """Install the Debian packages that are missing, or exit with the command that does it."""
    minor, _, has_venv, has_headers, *libraries = probe
    packages = [LIBRARIES[library] for library in libraries]
    if has_venv == '0':
        packages.append(f'python3.{minor}-venv')
    if ros:
        if output('python3', '-c', 'import tf2_msgs') is None:
            packages.append(f'ros-{ros}-tf2-msgs')
    else:
        packages += [] if has_headers == '1' else [f'python3.{minor}-dev']
        packages += [] if shutil.which('g++') and shutil.which('gcc') else ['g++']
    if not packages:
        return
    install = ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', *packages]
    if os.geteuid() != 0 or not shutil.which('apt-get'):
        sys.exit(f'setup: system packages are missing, install them with\n'
                 f'    sudo apt-get update && sudo {" ".join(install)}')
    run('system packages: ' + ' '.join(packages), 'apt-get', 'update', '-qq')
    run('installing them', 'env', 'DEBIAN_FRONTEND=noninteractive', *install)


def run(what: str, *command: str | Path) -> None:
    """Run one step of the set-up; exit where it fails."""
    print(f'setup: {what}', flush=True)
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit(f'setup: this step failed: {what}')


def pip(what: str, *arguments: str) -> None:
    """Run pip in .venv, with its progress bars where somebody watches."""
    quiet = [] if sys.stdout.isatty() else ['-qq']  # errors only
    # Modules are compiled when they are first imported, which halves the time of this.
    run(what, PYTHON, '-m', 'pip', '--disable-pip-version-check', 'install', '--no-compile',
        *quiet, *arguments)


def install(ros: str) -> None:
    """Install torch, the package with what it requires, and tf2_msgs into .venv."""
    # Modules of a ROS installation are compiled against the system's numpy: keep that one.
    numpy = output(PYTHON, '-c', 'import numpy; print(numpy.__version__)') if ros else None
    kept = [f'numpy=={numpy.strip()}'] if numpy else []
    has_gpu = Path('/proc/driver/nvidia/version').exists() or output('nvidia-smi', '-L')
    cpu_build = ['--extra-index-url', TORCH_CPU_INDEX, '--timeout', '15', '--retries', '1']
    pip('pip and setuptools', 'pip>=25', 'setuptools>=77')  # old pips take minutes to resolve
    pip('torch', '--no-deps', TORCH, *([] if has_gpu else cpu_build))
    extras = 'simulate,test,train' if ros else 'ros-pypi,simulate,test,train'
    pip('mvreg_ros and what it requires',
        '--no-build-isolation', TORCH, *kept, '-e', f'.[{extras}]')
    if output(PYTHON, '-c', 'import tf2_msgs') is None:
        wheels = VENV / 'wheels'
        run('building tf2_msgs', PYTHON, '-W', 'ignore', 'tools/build_tf2_msgs.py', wheels)
        pip('tf2_msgs', '--no-deps', *map(str, wheels.glob('tf2_msgs-*.whl')))
        shutil.rmtree(wheels)


def main() -> None:
    """Bring .venv up to date."""
    started = time.monotonic()
    ros = sourced_ros()
    wanted = stamp(ros)
    found = STAMP.read_text() if STAMP.exists() and PYTHON.exists() else ''
    if found == wanted:
        return
    moved = found.partition('\n')[0] != wanted.partition('\n')[0]  # also when made in part
    probe = find_python(ros)
    install_system_packages(ros, probe)
    STAMP.unlink(missing_ok=True)
    if moved and VENV.exists():
        shutil.rmtree(VENV)
    if moved:
        site = ['--system-site-packages'] if ros else []
        run(f'.venv with Python 3.{probe[0]} and ROS 2 ' + (ros or 'Kilted from PyPI'),
            probe[1], '-m', 'venv', *site, VENV)
    install(ros)
    run('looking at the result', PYTHON, '-m', 'mvreg_ros.doctor')
    STAMP.write_text(wanted)
    print(f'setup: .venv is ready after {time.monotonic() - started:.0f} s')


if __name__ == '__main__':
    main()
