"""The pipelines that run on Ray. Importing any of them prepares the environment that Ray reads when it is imported."""

from vidcnn.cluster import prepare_environment

prepare_environment()
