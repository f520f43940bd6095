"""From the times of frames to clips: pure arithmetic, and what is done to each frame."""
