"""One detector on one target: detections with their features, matched, and AP."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ptl_sweep.stages.base import Stage, StageKind, Summary
from ptl_sweep.stages.inputs import DataSpec, PoolSpec

if TYPE_CHECKING:
    from ptl_sweep.stages.context import StageContext

METRICS = "metrics.json"  # AP with counts


@dataclass(frozen=True, kw_only=True)
class EvaluateStage(Stage):
    """Run the parent's detector over a target."""

    kind: ClassVar[StageKind] = StageKind.EVALUATE
    version: ClassVar[int] = 3
    job_type: ClassVar[str] = "evaluate"

    @property
    def inputs(self) -> dict[str, DataSpec | PoolSpec]:
        """The target."""
        return {"target": self.data}

    def run(self, ctx: "StageContext") -> Summary:
        """Detect, match, score; the features are for the distances."""
        from ptl_sweep.detection.table import save_detections
        from ptl_sweep.stages import media
        from ptl_sweep.stages.detecting import detect_target

        target = ctx.read_split(self.data)
        found = detect_target(self, ctx, target)
        save_detections(ctx.folder, found.table)
        ctx.write_json(METRICS, found.metrics)
        media.show_detections(ctx, found.table, target.records)
        media.show_found(ctx, found.table, target.records)
        return found.metrics
