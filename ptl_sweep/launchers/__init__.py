"""Where tasks run: in this process, in local workers, on SLURM."""
