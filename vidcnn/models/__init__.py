"""The model zoo: which networks there are, how they are built, and where their weights come from.

`registry` names the architectures and is cheap to import; the other modules import torch.
"""
