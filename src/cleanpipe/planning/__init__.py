"""What a run will do, or a changed recipe would: from samples and tables, nothing written."""
