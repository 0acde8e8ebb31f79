"""Grid, plan, workers, launchers and the reducer."""
