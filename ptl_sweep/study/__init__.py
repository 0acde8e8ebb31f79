"""Numbers of the whole grid: groups, paired effects, tests, correlations."""
