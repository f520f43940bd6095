"""What `benchmarks/gpu.py` is made of: a report with a time limit, the network alone, videos, and decoding on a GPU."""
