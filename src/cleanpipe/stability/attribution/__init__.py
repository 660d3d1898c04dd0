"""From events back to documents: matched controls, permutations, nulls, replays."""
