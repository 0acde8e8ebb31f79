"""From cells to stages to tasks, and the state of each."""
