"""What is published, on S3-compatible storage: put there once, and switched to at one moment."""
