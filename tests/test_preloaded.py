"""What worker processes find imported, in an interpreter of its own."""

import subprocess
import sys

PROGRAM = """
import sys
from importlib import import_module
from benchmark.launch import PRELOADED
for name in (*PRELOADED, "zoo.gan"):
    import_module(name)
before = set(sys.modules)

import torch
from benchmark.spec import DataSpec
from benchmark.training_log import TrainingLog
from zoo.gan import GAN
points = torch.randn(64, 2)
GAN(DataSpec((2,)), width=8).fit(points, points, 0.0004, TrainingLog(None, "32-true"))
print(*sorted(name for name in set(sys.modules) - before), sep="\\n")
"""


def test_training_a_model_imports_nothing_more():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
