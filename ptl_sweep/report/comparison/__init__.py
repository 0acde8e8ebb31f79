"""Two sweeps side by side: what differs between them, and a page that shows it."""
