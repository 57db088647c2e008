"""Word vectors, encoders, and what predict, explain, evaluate and export are given."""

from typing import Final

from tests.bad_input.case import Case, Content
from tests.bad_input.corpora import FINE, NO_RATE

RUN: Final = "run table3 --corpus @corpus --store @here/new --dry-run --set folds.by=speaker"
RUN_3: Final = f"{RUN} --set folds.number=3"
PREDICT: Final = "predict --store @store"
BOTH: Final = f"{PREDICT} --model noise/both"
AUDIO: Final = f"{PREDICT} --model noise/audio"
EXPLAIN: Final = "explain --store @store --model noise/both"

_VECTORS: Final[dict[str, tuple[Content, str]]] = {
    "empty": ("", "v.txt"),
    "bytes": (b"\xff\x00\xff", "v.txt"),
    "words alone": ("so\nglad\n", "v.txt"),
    "texts as numbers": ("so x y\n", "v.txt"),
    "nan": ("so nan 1\n", "v.txt"),
    "inf": ("so inf 1\n", "v.txt"),
}

_ARRAYS: Final[dict[str, tuple[dict[str, Content], str]]] = {
    "no array": ({"v.npy": "x", "v.txt": "so\n"}, "v.npy"),
    "an empty array": ({"v.npy": "", "v.txt": "so\n"}, "v.npy"),
    "a pickle": ({"v.npy": b"\x80\x04N.", "v.txt": "so\n"}, "v.npy"),
}

_ENCODERS: Final[dict[str, tuple[dict[str, Content], str]]] = {
    "an empty folder": ({"e/x": ""}, "/e"),
    "a configuration of bytes": ({"e/config.json": b"\xff\x00"}, "/e"),
    "a configuration that is a list": ({"e/config.json": "[]"}, "e"),
    "a configuration of no model": ({"e/config.json": "{}"}, "e"),
    "a configuration of another model": ({"e/config.json": '{"model_type": "gpt2"}'}, "e"),
    "a configuration without weights": ({"e/config.json": '{"model_type": "bert"}'}, "e"),
}

_SOUNDS: Final[dict[str, tuple[bytes, str]]] = {
    "no byte": (b"", "x.wav"),
    "a text": (b"hello", "x.wav"),
    "a header alone": (FINE[:44], "x.wav"),
    "0 Hz": (NO_RATE, "x.wav"),
}

_FOLDERS: Final[dict[str, tuple[dict[str, Content], str]]] = {
    "empty": ({"m/x": ""}, "m"),
    "a configuration that is cut": ({"m/config.json": '{"model_type": "mlt'}, "m"),
    "a configuration of another kind": ({"m/config.json": '{"model_type": "bert"}'}, "m"),
    "a configuration of a later version": (
        {"m/config.json": '{"model_type": "mlt_ray", "format": 99}'},
        "expected format 1, got 99",
    ),
    "a configuration of nothing else": (
        {"m/config.json": '{"model_type": "mlt_ray", "format": 1}'},
        "config.json",
    ),
}

_SAID: Final[dict[str, str]] = {
    f"{RUN} --glove @here/none.txt": "none.txt: no such file; give word vectors as GloVe text",
    f"{RUN} --glove @here": "no such file; give word vectors as GloVe text",
    f"{RUN_3} --encoder @here/none/x": "none/x",
    f"{BOTH} @here/none.wav --text so": "none.wav",
    f"{BOTH} @here --text so": "expected recordings such as .wav or .flac, found none",
    f"{BOTH} @corpus/0.wav": "noise/both reads text, and none is given",
    f"{BOTH} @corpus/0.wav @corpus/1.wav --text so": "--text: expected one recording, got 2",
    f"{BOTH} @corpus/0.wav --text so --asr x": "--text: expected no --texts or --asr beside it",
    f"{BOTH} @corpus/0.wav --texts @here/none.csv": "none.csv",
    f"{BOTH} @corpus/0.wav --text so --glove @here/none.txt": "none.txt",
    f"{PREDICT} --model noise/none @corpus/0.wav": "noise: unknown row none",
    f"{PREDICT} --model nois/both @corpus/0.wav": "unknown study nois; did you mean noise?",
    f"{PREDICT} --model 0123456789abcdef @corpus/0.wav": "0123456789abcdef",
    f"{PREDICT} --model '' @corpus/0.wav": "expected",
    f"{PREDICT} --model / @corpus/0.wav": "expected",
    f"{PREDICT} --model noise/ @corpus/0.wav": "noise",
    f"{PREDICT} --model ../noise/both @corpus/0.wav": "expected",
    "explain @corpus/0.wav --text so --store @store --model 'noise/by speaker'": "by speaker",
    "explain @corpus/0.wav --text unheard --store @store --model mine/both": "--glove",
    f"{PREDICT} --model noise/own @corpus/0.wav": "",
    f"{PREDICT} --model noise/own @corpus/0.wav --model-file @here/none.py": "none.py",
    f"{PREDICT} @corpus/0.wav": "expected",
    "predict @corpus/0.wav --store @here/none": "expected a study that was run",
    f"{EXPLAIN} @here/none.wav --text so": "none.wav",
    f"{EXPLAIN} @here --text so": "here",
    f"{EXPLAIN} @corpus/0.wav": "noise/both reads text, and none is given",
    f"{EXPLAIN} @corpus/0.wav --text so --out /proc/none/x.html": "--out: expected a folder",
    f"{EXPLAIN} @corpus/0.wav --text so --asr x": "--text: expected no --asr beside it",
    "export noise --store @store": "noise",
    "export noise/none --store @store": "noise: unknown row none",
    "export nois/both --store @store": "unknown study nois; did you mean noise?",
    "export noise/both --store @store --out @corpus": "expected a new or empty folder",
    "export noise/both --store @store --out /proc/none/x": "--out: expected a folder",
    "export noise/both --store @store --log": "--log: expected it with --to mlflow",
    "export noise/own --store @store": "",
    "evaluate noise --corpus @corpus --store @store": "noise: expected STUDY/ROW, got no slash",
    "evaluate noise/none --corpus @corpus --store @store": "noise: unknown row none",
    "evaluate nois/both --corpus @corpus --store @store": "unknown study nois; did you mean noise?",
    "evaluate @here --corpus @corpus --store @store": "expected STUDY/ROW of a store, got a folder",
    "evaluate noise/both --corpus @here --store @store": "here: ",
    "evaluate noise/both --corpus @corpus --store @store": "--leave-out-heard",
    "evaluate noise/both --corpus @corpus --store @store --leave-out-heard": "name another corpus",
    "evaluate noise/both --corpus @corpus --store @store --labels nine": "--labels: unknown set",
    "evaluate noise/both --corpus @corpus --store @store --labels '[a'": "--labels: expected a",
    "evaluate noise/both --corpus @corpus --store @store --out /proc/none": "--out: expected a",
    "evaluate noise/both --corpus @corpus --store @store --out @corpus/0.wav": "got the file",
    "compare noise none both --store @store": "noise: unknown row none",
    "compare nois audio both --store @store": "unknown study nois; did you mean noise?",
    "compare noise audio nois/both --store @store": "nois",
    "compare noise audio audio --store @store": "audio",
    "report none --store @store": "found those of: mine, noise",
    "report ../noise --store @store": "unknown study ../noise; did you mean noise?",
    "report @here/none.yaml --store @store": "found those of: mine, noise",
    "report noise --store @store --out @corpus/0.wav": "--out: expected a folder, got the file",
    "report noise --store @store --out /proc/none": "--out: expected a folder that can be written",
    "run demo --corpus @corpus --store @here/new --out /proc/none": "--out: expected a folder",
    "search layers --corpus @corpus --set folds.by=stratified --store @here/new --out /proc/none": (
        "--out: expected a folder"
    ),
}

CASES: Final = (
    {
        f"{n}, {command[-50:]}": Case(command=command, says=says)
        for n, (command, says) in enumerate(_SAID.items(), start=1)
    }
    | {
        f"vectors: {name}": Case(
            command=f"{RUN_3} --glove @here/v.txt", says=says, files={"v.txt": content}
        )
        for name, (content, says) in _VECTORS.items()
    }
    | {
        f"vectors: {name}": Case(command=f"{RUN_3} --glove @here/v.npy", says=says, files=files)
        for name, (files, says) in _ARRAYS.items()
    }
    | {
        f"{kind}: {name}": Case(command=f"{command} @here/e", says=says, files=files)
        for kind, command in (
            ("text encoder", f"{RUN_3} --encoder"),
            ("speech encoder", f"{RUN_3.replace('table3', 'open')} --speech-encoder"),
            ("recogniser", f"{BOTH} @corpus/0.wav --asr"),
        )
        for name, (files, says) in _ENCODERS.items()
    }
    | {
        f"to {verb}: {name}": Case(command=f"{command} @here/x.wav", says=says, files={"x.wav": s})
        for verb, command in (("explain", f"{EXPLAIN} --text so"),)
        for name, (s, says) in _SOUNDS.items()
    }
    | {
        f"exported folder: {name}": Case(
            command="predict @corpus/0.wav --model @here/m", says=says, files=files
        )
        for name, (files, says) in _FOLDERS.items()
    }
    | {
        "standard input: nothing": Case(
            command=f"{AUDIO} -", says="expected a recording, got noth"
        ),
        "a table of recordings: empty": Case(
            command=f"{AUDIO} @here/t.csv", says="t.csv", files={"t.csv": ""}
        ),
        "a table of recordings: no path": Case(
            command=f"{AUDIO} @here/t.csv", says="t.csv", files={"t.csv": "file\nx.wav\n"}
        ),
        "a table of recordings: bytes": Case(
            command=f"{AUDIO} @here/t.csv", says="t.csv", files={"t.csv": b"\xff\x00"}
        ),
        "texts: no columns": Case(
            command=f"{BOTH} @corpus/0.wav --texts @here/t.csv",
            says="t.csv",
            files={"t.csv": "a,b\n1,2\n"},
        ),
        "texts: of other recordings": Case(
            command=f"{BOTH} @corpus/0.wav --texts @here/t.csv",
            says="t.csv: expected keys such as 0.wav",
            files={"t.csv": "key,text\nz.wav,so\n"},
        ),
        "texts: two of one recording": Case(
            command=f"{BOTH} @corpus/0.wav --texts @here/t.csv",
            says="t.csv: expected one text of 0.wav, got two",
            files={"t.csv": "key,text\n0.wav,so\n0.wav,no\n"},
        ),
    }
)
