"""launcher=slurm: tasks as arrays of SLURM jobs."""

from ptl_sweep.launchers.slurm.launcher import SlurmLauncher

__all__ = ["SlurmLauncher"]
