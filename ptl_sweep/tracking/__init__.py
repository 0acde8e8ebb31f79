"""history.jsonl, the record of a stage's metrics, and its mirror in Weights & Biases.

The mirror may fail without failing a stage: it then warns once and stays off.
"""

from ptl_sweep.tracking.history import History, Row, Value, plain_row, plain_value
from ptl_sweep.tracking.media import MAX_IMAGES, ImageSource, ShownImage
from ptl_sweep.tracking.mirror import Mirror, artifact_name
from ptl_sweep.tracking.recorder import Recorder, StageMirror
from ptl_sweep.tracking.run_info import JOB_TYPES, MAX_RUN_ID, MAX_TAG, RunInfo, run_id
from ptl_sweep.tracking.starting import SETTINGS, mode_of, open_mirror
from ptl_sweep.tracking.transaction_log import RunLog, read_log

__all__ = [
    "JOB_TYPES", "MAX_IMAGES", "MAX_RUN_ID", "MAX_TAG", "SETTINGS", "History", "ImageSource",
    "Mirror", "Recorder", "Row", "RunInfo", "RunLog", "ShownImage", "StageMirror", "Value",
    "artifact_name", "mode_of", "open_mirror", "plain_row", "plain_value", "read_log", "run_id",
]  # fmt: skip
