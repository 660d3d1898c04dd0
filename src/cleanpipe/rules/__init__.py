"""Rules over measures and columns, and gates over a whole run's numbers."""
