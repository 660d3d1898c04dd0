"""From quality statistics to training: logs of real runs, and a small model that can be asked."""
