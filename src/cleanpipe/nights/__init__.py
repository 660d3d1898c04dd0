"""Incremental runs: what is new, what was kept, documents and nights taken back."""
