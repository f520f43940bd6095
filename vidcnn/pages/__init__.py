"""Pages of `vidcnn report`: one HTML file each, which opens from a disk and fetches nothing."""
