"""Cross-validated multimodal speech emotion recognition, orchestrated with Ray."""

__version__ = "0.1.0"
