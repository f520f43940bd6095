"""The model zoo: which networks there are, how they are built, and where their weights come from.

`registry` names the architectures; it, `table`, `bundle` and `ranking` are cheap to import, the others import torch.
"""
