"""Telemetry of libraries: what they report to their makers about their use stays off where this package starts them.

onnxruntime, OpenVINO with nncf, Ray, MLflow and Gradio (under Trackio) report without asking: an identity of the
machine, versions, and what was called. Who works on the pictures of others may send nothing. A variable of the
environment that is set stays as it is, so whoever wants to report can.
"""

import os
import sys

# The variables that the libraries read when they are imported or started, with the values that switch reports off.
_SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
_REPORTER = "openvino_telemetry"  # OpenVINO and nncf do without it where it is not installed; they have no switch


def keep_telemetry_off() -> None:
    """Switch the reports off in this process and those that it starts; called before such a library is imported."""
    for name, off in _SWITCHES.items():
        os.environ.setdefault(name, off)
    if _REPORTER not in sys.modules:
        sys.modules[_REPORTER] = None  # pyright: ignore[reportArgumentType]  # to import it is an ImportError then
