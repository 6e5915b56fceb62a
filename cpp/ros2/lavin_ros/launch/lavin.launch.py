"""Starts the node lavin; see the README for the arguments."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

ARGUMENTS = {
    "bundle": (str, None, "path of the bundle, a folder NAME.lavin"),
    "task": (str, None, "name of a task that is stored in the bundle"),
    "steps": (int, "0", "model evaluations a picture; 0: the default"),
    "backend": (str, "auto", "auto, onnxruntime or tensorrt"),
    "threads": (int, "0", "threads of a CPU back end; 0: the physical cores"),
}


def generate_launch_description():
    """Declare the arguments and hand them to the node as parameters."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=about)
        for name, (_, default, about) in ARGUMENTS.items()
    ]
    declared.append(
        DeclareLaunchArgument(
            "image", default_value="image_raw", description="topic of the pictures"
        )
    )
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _, _) in ARGUMENTS.items()
    }
    node = Node(
        package="lavin_ros",
        executable="lavin_node",
        parameters=[parameters],
        remappings=[("image_raw", LaunchConfiguration("image"))],
        output="screen",
    )
    return LaunchDescription([*declared, node])
