# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the registration node, and RViz on request."""

# Ruff takes the folder of this file for the package launch.
from launch import LaunchDescription  # noqa: I001
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the nodes."""
    config = PathJoinSubstitution([FindPackageShare('mvreg_ros'), 'config'])
    use_sim_time = {
        'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)}
    return LaunchDescription([
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of the node and its topics.'),
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([config, 'register.yaml']),
            description='Parameters of the node, a yaml file.'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false', choices=['true', 'false'],
            description='Take the time from /clock, for bags and simulators.'),
        DeclareLaunchArgument(
            'log_level', default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Least severity that is logged.'),
        DeclareLaunchArgument(
            'fragments', default_value='fragments',
            description='Topic of the point-cloud fragments.'),
        DeclareLaunchArgument(
            'frames', default_value='frames',
            description='Topic of the clouds of a depth camera, with the parameter prior.frame.'),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=['true', 'false'],
            description='Start RViz with the map, the graph and the path.'),
        Node(
            package='mvreg_ros', executable='registration_node', name='mvreg',
            namespace=LaunchConfiguration('namespace'), output='screen',
            # The later wins: what the command line says beats the file.
            parameters=[LaunchConfiguration('params_file'), use_sim_time],
            remappings=[
                (name, LaunchConfiguration(name)) for name in ('fragments', 'frames')],
            arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
        ),
        Node(
            package='rviz2', executable='rviz2', name='rviz',
            # The topics in the file are relative, so this namespace is all it takes.
            namespace=LaunchConfiguration('namespace'), output='screen',
            parameters=[use_sim_time],
            arguments=['-d', PathJoinSubstitution([config, 'register.rviz'])],
            condition=IfCondition(LaunchConfiguration('rviz')),
        ),
    ])
