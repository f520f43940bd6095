"""Job specs: every option of every command, its default and its meaning, defined once.

A spec is what `vidcnn run` reads from a YAML file and what the command line fills from options;
`vidcnn.commands.options` makes the options from the fields here. A spec is frozen, forbids unknown keys, and has the
user's wishes: None means that the model, the machine or the data decides.
"""

from vidcnn.config.base import Spec, option_name
from vidcnn.config.infer import InferSpec, parse_pool
from vidcnn.config.scan import ScanSpec
from vidcnn.config.schedule import ScheduleSpec
from vidcnn.config.train import EvaluateSpec, TrainSpec

__all__ = ["EvaluateSpec", "InferSpec", "ScanSpec", "ScheduleSpec", "Spec", "TrainSpec", "option_name", "parse_pool"]
