"""What is measured of a document: by the kernels' scan, by models, by users' functions."""
