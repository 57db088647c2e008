"""Every system as ONNX gives what torch gives, for batches of other sizes than the traced one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.exportable import AXES, LEVELS, OPSET, exportable, traced_max, write_graph
from mlt_ray.models.li.network import interval_max
from mlt_ray.spec import ModelSpec
from tests.models import test_bert, test_li, test_multigranularity, test_multilevel
from tests.models import test_speech, test_xu, test_yoon
from tests.models.batches import SIZES, made_up, padded
from tests.models.checks import build, logits
from tests.tiny_encoder import WIDTH as TEXT_WIDTH
from tests.tiny_encoder import write_encoder
from tests.tiny_speech_encoder import WIDTH as SPEECH_WIDTH
from tests.tiny_speech_encoder import write_speech_encoder

onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "mlt-ray[onnx]"')
