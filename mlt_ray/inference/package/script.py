"""Prints the emotion that the model of this folder hears in a recording, as JSON.

    python predict.py clip.wav --text "what is said in it"

This is the file ``predict.py`` of an exported model. It runs the code beside it, ``mlt_ray``, and,
if the model is one of its user's own, the Python file that came with it.
"""

import argparse
import json
import sys
from pathlib import Path

import mlt_ray
from mlt_ray.inference.clips import clip_of
from mlt_ray.inference.folder.read import own_file_in

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Predict the recording that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("audio", type=Path, help="one WAV, FLAC, … file")
    parser.add_argument("--text", help="what is said in it, for a model that reads text")
    parser.add_argument("--device", help="such as cpu or cuda; default: a GPU if there is one")
    given = parser.parse_args()
    try:
        model = mlt_ray.load(HERE, device=given.device, model_file=own_file_in(HERE))
        [found] = model.answer([clip_of(given.audio, given.text)])
    except mlt_ray.UserError as error:
        print(f"predict.py: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
