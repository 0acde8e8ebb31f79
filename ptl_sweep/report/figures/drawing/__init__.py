"""What all figures share: style, series with intervals, and files."""
