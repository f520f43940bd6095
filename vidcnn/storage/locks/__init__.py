"""Who holds an output: one run at a time, on a file system or in object storage."""
