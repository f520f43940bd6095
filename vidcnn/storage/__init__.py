"""Where bytes live, how they are written whole, who may write them, and what is tried again when that fails."""
