"""From the times of frames to clips, in pure arithmetic (`grid`, `segments`); what is done to them (`preprocessing`)."""
