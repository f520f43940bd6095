"""``python -m vidcnn``."""

from vidcnn.cli import main

main()
