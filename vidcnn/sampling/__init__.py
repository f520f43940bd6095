"""From times of frames to clips, in pure arithmetic (`grid`, `segments`); what is done to frames (`preprocessing`)."""
