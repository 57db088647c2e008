"""Which layers of a speech encoder a row's runs read: their learned weights, or those dev chose."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

LayerNumbers = Mapping[str, Mapping[str, float]]
"""Numbers by what they are, and by the number of a layer, from the lowest up.

``layer_weights`` and ``frame_layer_weights``, of pooled layers and of frames, are means over the
runs. ``chosen`` counts the runs for which dev chose a layer; ``dev_ua`` is the mean dev UA of each
layer that it chose from.
"""

WEIGHTS: Final = {"layer_weights": "layer weights", "frame_layer_weights": "frame layer weights"}
"""Keys of `RunReport.details` that hold weights by layer, and what a table calls them."""


NEARLY_EQUAL: Final = 1.1
"""A largest weight below so many times the mean one is not called the largest."""


def layer_numbers(details: Sequence[Mapping[str, Any]]) -> LayerNumbers:
    """What the `RunReport.details` of a row's runs say of layers; empty if they say nothing."""
    found = {}
    for key in WEIGHTS:
        # A model of one's own may say something else under this name.
        weights = [each[key] for each in details if isinstance(each.get(key), Mapping)]
        if weights:
            found[key] = _means(weights)
    tried = [each for each in details if "dev_ua_of_layers" in each]
    if tried:
        counts = Counter(each["layer"] for each in tried)
        found["chosen"] = {str(layer): counts[layer] for layer in sorted(counts)}
        found["dev_ua"] = _means([_by_number(each["dev_ua_of_layers"]) for each in tried])
    return found


def layer_lines(numbers: LayerNumbers, num_runs: int) -> list[str]:
    """A line for each kind of weights, and one for the layers that dev chose."""
    lines = []
    for key in filter(numbers.__contains__, WEIGHTS):
        weights = numbers[key]
        largest = max(weights, key=weights.__getitem__)
        listed = _listed(weights, 2)
        is_equal = weights[largest] * len(weights) < NEARLY_EQUAL
        said = "nearly equal" if is_equal else f"largest: layer {largest}"
        of = f"mean of {num_runs} runs" if num_runs > 1 else "one run"
        lines.append(f"{WEIGHTS[key]}, {of}: {listed}; {said}")
    if "chosen" in numbers:
        chosen = ", ".join(f"{layer} in {n}" for layer, n in numbers["chosen"].items())
        listed = _listed(numbers["dev_ua"], 3)
        lines.append(
            f"layer chosen by dev: {chosen} of {num_runs} runs; mean dev UA of each: {listed}"
        )
    return lines


def _by_number(values: Sequence[float]) -> dict[str, float]:
    return {str(number): value for number, value in enumerate(values)}


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {layer: fmean(each[layer] for each in values) for layer in values[0]}


def _listed(values: Mapping[str, float], digits: int) -> str:
    return ", ".join(f"{layer}: {value:.{digits}f}" for layer, value in values.items())
