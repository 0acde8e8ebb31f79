"""history.jsonl, media.json and the W&B runs that are made equal to them.

A stage's folder is the truth and a W&B run its projection, which may be made again at any time;
no fault of W&B fails, delays or changes a stage.
"""

from ptl_sweep.tracking.companion import Companion, mode_of
from ptl_sweep.tracking.history import History, Row, plain_row, plain_value
from ptl_sweep.tracking.order import (
    JOB_TYPES,
    MAX_RUN_ID,
    MAX_TAG,
    Alert,
    FiledFiles,
    Order,
    RunInfo,
    run_id,
)
from ptl_sweep.vocabulary import Value

__all__ = [
    "JOB_TYPES", "MAX_RUN_ID", "MAX_TAG", "Alert", "Companion", "FiledFiles", "History", "Order",
    "Row", "RunInfo", "Value", "mode_of", "plain_row", "plain_value", "run_id",
]  # fmt: skip
