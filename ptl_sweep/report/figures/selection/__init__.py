"""What PTL selected from the virtual pool, by pose, gap and kind."""
