"""The text of extra copies: rearranged, reworded, or rephrased by a model elsewhere."""
