"""What is computed and published: training, PTL iteration, evaluation."""
