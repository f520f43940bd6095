"""vidcnn: classify and train on more video than one machine can watch.

Importing the package loads neither torch nor Ray nor PyAV; each module imports what it needs.
"""

__version__ = "0.1.0"
