# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Build a wheel of tf2_msgs from its one-line definition, for Pythons whose ROS came from PyPI.

PyPI has the ROS message generators but not tf2_msgs. Type support is linked statically into one
extension module, for Fast DDS, the middleware of that set-up. Usage: build_tf2_msgs.py WHEEL_DIR
"""

from __future__ import annotations

import os
from pathlib import Path
import sys
import sysconfig
import tempfile

import numpy
from rosidl_adapter.msg import convert_msg_to_idl
from rosidl_generator_c.cli import GenerateC
from rosidl_generator_py.cli import GeneratePython
from rosidl_generator_type_description.cli import HashTypeDescription
from rosidl_typesupport_c.cli import GenerateCTypesupport
from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
from setuptools import Extension, setup

PACKAGE = 'tf2_msgs'
DEFINITION = 'geometry_msgs/TransformStamped[] transforms\n'
EXTENSION = f'{PACKAGE}.{PACKAGE}_s__rosidl_typesupport_c'
PREFIX = Path(sys.prefix)


def generate(source: Path) -> None:
    """Write the C, C++ and Python sources of the message into `source`/tf2_msgs."""
    output = source / PACKAGE
    (output / 'msg').mkdir(parents=True)
    (output / 'msg/TFMessage.msg').write_text(DEFINITION)
    convert_msg_to_idl(output, PACKAGE, Path('msg/TFMessage.msg'), output / 'msg')
    idl, include = [f'{output}:msg/TFMessage.idl'], [str(PREFIX / 'share')]
    hashes = HashTypeDescription('hash').generate_type_hashes(PACKAGE, idl, include, output)
    GenerateC('c').generate(PACKAGE, idl, include, output, hashes)
    for generator in (
        GenerateFastRTPSCTypesupport('fastrtps_c'),
        GenerateCTypesupport('c', typesupport_implementations=['rosidl_typesupport_fastrtps_c']),
        GeneratePython('py', typesupport_implementations=['rosidl_typesupport_c']),
    ):
        generator.generate(PACKAGE, idl, include, output)
    (output / '__init__.py').touch()


def extension() -> Extension:
    """Return the extension module of all sources below the current folder."""
    sources = sorted(str(path) for path in Path(PACKAGE).rglob('*.c*') if path.suffix != '.cfg')
    headers = [str(path) for path in (PREFIX / 'include').iterdir() if path.is_dir()]
    parts = ('rosidl_generator_c', 'rosidl_generator_py', 'rosidl_typesupport_c',
             'rosidl_typesupport_fastrtps_c')
    return Extension(
        EXTENSION, sources, language='c++',
        include_dirs=['.', sysconfig.get_path('include'), numpy.get_include(), *headers],
        library_dirs=[str(PREFIX / 'lib')],
        libraries=['rosidl_runtime_c', 'rosidl_typesupport_c', 'rosidl_typesupport_fastrtps_c',
                   'fastcdr', 'rcutils', *(f'geometry_msgs__{part}' for part in parts)],
        extra_compile_args=['-O1', '-w'],
        extra_link_args=['-Wl,-rpath,$ORIGIN/../../..', f'-Wl,-rpath-link,{PREFIX / "lib"}'],
    )


def main() -> None:
    """Build the wheel in a throw-away folder."""
    destination = Path(sys.argv[1]).resolve()
    os.environ['AMENT_PREFIX_PATH'] = str(PREFIX)
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        os.chdir(folder)
        setup(
            name=PACKAGE, version='0.0.1', packages=[PACKAGE, f'{PACKAGE}.msg'],
            ext_modules=[extension()],
            script_args=['--quiet', 'bdist_wheel', '--dist-dir', str(destination)],
        )


if __name__ == '__main__':
    main()
