"""The input: files found, cut into blocks, read into Arrow batches; the unreadable is named."""
