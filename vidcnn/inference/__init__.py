"""From decoded clips to rows: the network as it is run, and what is made of its scores. Knows nothing of Ray."""
