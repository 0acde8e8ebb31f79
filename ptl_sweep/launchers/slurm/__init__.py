"""Tasks as SLURM jobs."""
