# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package as pip and colcon install it; all requirements are declared here."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = 'mvreg_ros'

setup(
    name=PACKAGE,
    version='0.1.0',
    description='Learned multiview registration of point-cloud fragments, with a ROS 2 node.',
    author='The mvreg_ros authors',
    maintainer='The mvreg_ros authors',
    maintainer_email='maintainers@mvreg-ros.example',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['native/*.c', 'report/*.html', 'weights/*.safetensors']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/launch', sorted(glob('launch/*.launch.py'))),
        (f'share/{PACKAGE}/config', sorted(glob('config/*.*'))),
        (f'share/{PACKAGE}/config/training', sorted(glob('config/training/*'))),
        # pip puts console scripts in bin/, where ros2 run and launch files do not look.
        (f'lib/{PACKAGE}', sorted(glob('libexec/*'))),
    ],
    zip_safe=False,
    entry_points={
        'console_scripts': [
            f'mvreg = {PACKAGE}.cli:main',
            f'registration_node = {PACKAGE}.node.registration_node:main',
        ],
    },
    install_requires=[
        'gtsam>=4.2',
        'jinja2>=3.1',
        'networkx>=3.0',
        'numpy>=1.26',
        # For Python 3.10 there is only gtsam 4.2, which crashes in numpy 2 and does not say so.
        'numpy<2; python_version < "3.11"',
        'psutil>=5.9',
        'pypcd4>=1.1',
        'pyyaml>=6.0',
        'rosbags>=0.11',
        'safetensors>=0.4.3',
        'scipy>=1.11',
        'small_gicp>=1.0',
        'threadpoolctl>=3.5',
        'torch>=2.4',
        'tqdm>=4.60',
        'transforms3d>=0.4.2',
    ],
    extras_require={
        # A peer of benchmarks/accuracy.py. Only some platforms have a wheel.
        'benchmarks': ['kiss_matcher>=1.0'],
        # A whole ROS 2, for machines that have none; never beside a ROS installation.
        'ros-pypi': [
            'ros-kilted-common-interfaces==5.5.*',
            'ros-kilted-rclpy==9.1.*',
            'ros-kilted-rmw-fastrtps-cpp==9.3.*',
        ],
        # For `mvreg ... --ray`; the same version on all machines of a cluster.
        'ray': ['ray>=2.40'],
        'simulate': [
            'matplotlib>=3.8',
            # The same module without CUDA: a quarter of the size.
            'open3d-cpu>=0.19; sys_platform == "linux" and platform_machine == "x86_64"',
            'open3d>=0.19; sys_platform != "linux" or platform_machine != "x86_64"',
        ],
        'test': [
            'flake8>=6',
            'flake8-import-order>=0.18.2',
            'flake8-quotes>=3.4',
            'hypothesis>=6.100',
            'mypy>=1.11',
            'packaging>=23',
            'pydocstyle>=6.3',
            'pytest>=8.2',
            'pytest-xdist>=3.5',
            'ray>=2.40',
            # Another DDS, for a test; it has a wheel for this platform only.
            'roswell>=0.1; sys_platform == "linux" and platform_machine == "x86_64"',
            'ros-ament-flake8>=0.17',
            'ros-ament-lint>=0.17',
            'ros-ament-pep257>=0.17',
            'ruff>=0.9',
            'setuptools>=77',
            'trimesh>=4.0',
        ],
        'train': ['tensorboard>=2.14'],
    },
)
