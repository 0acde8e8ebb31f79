"""PTL's baseline "pretrain-finetune": virtual images alone first, then real images alone."""

from dataclasses import dataclass

from ptl_sweep.config.checks import in_range
from ptl_sweep.ptl.methods.base import TrainingPhase
from ptl_sweep.ptl.methods.naive_merge import NaiveMerge


@dataclass(frozen=True, kw_only=True)
class PretrainFinetune(NaiveMerge):
    """Shares the steps of one training between the two; each phase has a schedule of its own."""

    pretrain_share: float = 0.5  # of train.num_steps

    def __post_init__(self) -> None:
        """Reject a share that leaves a phase without steps. Raises: ConfigError."""
        in_range("synthetic.options.pretrain_share", self.pretrain_share, 0.01, 0.99)

    @property
    def phases(self) -> tuple[TrainingPhase, ...]:
        """Virtual, then real."""
        share = self.pretrain_share
        return (
            TrainingPhase(share, real=False, virtual=True),
            TrainingPhase(1 - share, real=True, virtual=False),
        )
