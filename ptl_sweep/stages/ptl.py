"""One PTL iteration: each finished step leaves a file, so a killed worker goes on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.methods.base import SyntheticMethod
from ptl_sweep.ptl.translators.base import Translator
from ptl_sweep.stages.base import StageKind, Summary
from ptl_sweep.stages.inputs import NOT_IN_KEY, DataSpec, PoolSpec
from ptl_sweep.stages.train import MANIFEST, DetectorStage

if TYPE_CHECKING:
    from ptl_sweep.stages.context import StageContext

SELECTION = "selection.json"  # which virtual images, and their domain gaps
TRANSFORMED = "transformed.json"  # the pictures made of them, which are all there by then
TRANSLATION = "translation.json"  # how far the persons are from the real ones, before and after
TRANSLATOR = "translator.safetensors"
GAUSSIAN = "gaussian.npz"
NUM_SAMPLES = 8  # virtual originals kept for the report


@dataclass(frozen=True, kw_only=True)
class PtlStage(DetectorStage):
    """Gap, select, translate, add, train (PTL section 3); the parent is the detector of R_t-1."""

    kind: ClassVar[StageKind] = StageKind.PTL
    version: ClassVar[int] = 2
    job_type: ClassVar[str] = "train"

    pool: PoolSpec
    method: SyntheticMethod
    translator: Translator
    t: int  # 1, 2, ...
    synthetic: str = field(metadata=NOT_IN_KEY)  # what the result columns call the method
    translator_name: str = field(metadata=NOT_IN_KEY)

    @property
    def inputs(self) -> dict[str, DataSpec | PoolSpec]:
        """The source of the real pictures, and the virtual pool."""
        return {"dataset": self.data, "pool": self.pool}

    @property
    def iteration(self) -> int:
        """PTL iteration t of the detector that this stage trains."""
        return self.t

    def run(self, ctx: "StageContext") -> Summary:
        """Select from V_t, translate, and train on R_t from the initial weights."""
        from ptl_sweep.checkpoints import remove_checkpoint
        from ptl_sweep.ptl.adversarial import CHECKPOINT_NAME
        from ptl_sweep.stages import media
        from ptl_sweep.stages.fitting import fit_detector
        from ptl_sweep.stages.selecting import select_images
        from ptl_sweep.stages.training_set import (
            TrainingSet,
            TransformedImage,
            read_training_set,
        )
        from ptl_sweep.stages.translating import compare_gaps, transform_images

        source = ctx.read_split(self.data)
        training = read_training_set(ctx.parent(MANIFEST), source.records)
        virtual = ctx.read_pool(self.pool)
        pool = [r for r in virtual.records if r.image_id not in training.selected_ids]
        selection = _once(ctx, SELECTION, lambda: select_images(self, ctx, pool))
        media.show_selection(ctx, pool, selection)
        chosen = _chosen(pool, selection["selected"])
        transformed = _once(ctx, TRANSFORMED, lambda: transform_images(self, ctx, chosen, training))
        remove_checkpoint(ctx.folder / CHECKPOINT_NAME)
        images = tuple(TransformedImage(**image) for image in transformed["images"])
        compared = _once(
            ctx,
            TRANSLATION,
            lambda: compare_gaps(self, ctx, selection, transformed, training.real),
        )
        whole = TrainingSet(training.real, (*training.transformed, *images))
        fitted = fit_detector(self, ctx, whole, self.method.phases)
        shown = [image.record(ctx.folder / image.file) for image in images[:NUM_SAMPLES]]
        media.show_transformed(ctx, self, fitted.detector, shown)
        reasons = [r for r in (selection["reason"], transformed["reason"]) if r]
        return {
            **fitted.summary,
            **selection["summary"],
            **compared["summary"],
            "num_untranslated": transformed["num_untranslated"],
            "reason": "; ".join(reasons) or None,
        }


def _chosen(pool: Sequence[ImageRecord], names: Sequence[str]) -> list[ImageRecord]:
    by_id = {record.image_id: record for record in pool}
    return [by_id[name] for name in names]


def _once(ctx: "StageContext", name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The step's file; made now unless an attempt before a kill has finished the step."""
    path = ctx.folder / name
    if not path.exists():
        ctx.write_json(name, make())
    return dict(json.loads(path.read_text()))
