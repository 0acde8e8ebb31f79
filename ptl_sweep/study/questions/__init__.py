"""Questions that the papers leave open: what each asks of results.csv, and its claim."""
