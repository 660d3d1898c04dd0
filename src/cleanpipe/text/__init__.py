"""Normalization: the fixes, in their order, each over whole columns of text."""
