"""Equal texts, near-duplicates and repeated spans: found in bands, verified, clustered."""
