"""What happens in a worker process: stages of one task, hit, resumed or computed."""
