"""Every system as ONNX gives what torch gives, for batches of other sizes than the traced one."""

import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "mlt-ray[onnx]"')
