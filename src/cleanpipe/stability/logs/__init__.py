"""Training logs of many programs -> one table of steps."""
