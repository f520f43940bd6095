"""What embeddings of a table tell without any video: which clips are alike, and what kinds of clips there are."""
