"""What stands in a training loop: a log of batches, a guard, a watch over steps."""
