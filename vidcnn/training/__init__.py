"""Training in plain torch: what a sample looks like, the loop, checkpoints and validation. Ray is not needed here."""
