"""Studies that cannot be read, or say what cannot be."""

from typing import Final

from tests.bad_input.case import Case, Content

RUN: Final = "run @here/mine.yaml --corpus @corpus --store @here/new --dry-run"

ROW: Final = "rows:\n- name: a\n  model: {system: multilevel}\n"


def base(values: str) -> str:
    return f"{ROW}base: {{folds: {{by: speaker}}, {values}}}\n"


def model(values: str) -> str:
    return f"rows:\n- name: a\n  model: {{system: multilevel, {values}}}\n"


_SAID: Final[dict[str, tuple[Content, str]]] = {
    # the file
    "empty": ("", "mine: expected a mapping of keys, got None"),
    "a text": ("hello", "mine: expected a mapping of keys, got 'hello'"),
    "a list": ("- a\n- b", "mine: expected a mapping of keys"),
    "bytes": (b"\x00\x01\xff", "mine.yaml: expected YAML in UTF-8"),
    "UTF-16": ("rows: []".encode("utf-16"), "mine.yaml: expected YAML in UTF-8"),
    "a tab": ("rows:\n\t- name: a", "mine.yaml: expected YAML in UTF-8"),
    "two documents": ("rows: []\n---\nrows: []\n", "expected a single document"),
    "a key twice": (ROW + "seeds: [1]\nseeds: [2]\n", "key seeds stands twice"),
    "a list as key": ("? [a]\n: 3\n" + ROW, "found unhashable key"),
    "an object of Python": ("rows: !!python/object/apply:os.system [ls]", "expected YAML in UTF-8"),
    "a tag": ("rows: !foo [1]", "expected YAML in UTF-8"),
    "an alias of nothing": ("rows: *a", "expected YAML in UTF-8"),
    "an alias of itself": ("rows: &r\n- *r\n", "got: more than 1000000 values"),
    "deeply nested": ("rows: " + "[" * 3000 + "]" * 3000, "expected YAML in UTF-8"),
    "a date that is none": (ROW + "title: 2020-13-45\n", "month must be in 1..12"),
    "thousands of digits": (ROW + f"seeds: [{'9' * 5000}]\n", "expected YAML in UTF-8"),
    # its keys
    "no rows": ("title: x", "mine.rows: expected a list of rows, got None"),
    "rows that are empty": ("rows: []", "mine.rows: expected a list of rows, got []"),
    "rows as a mapping": ("rows: {a: 1}", "mine.rows: expected a list of rows"),
    "a row that is a text": ("rows: [a]", "mine.rows[1]: expected a mapping of keys, got 'a'"),
    "a row that is nothing": ("rows: [null]", "mine.rows[1]: expected a mapping of keys"),
    "an unknown key": (ROW + "colour: red\n", "mine: unknown key colour; known: title"),
    "a key that is misspelled": (ROW + "seed: [1]\n", "unknown key seed; did you mean seeds?"),
    "a key of rows at the top": (ROW + "training: {}\n", "expected it in base or in a row"),
    "a key that is a number": ("3: 4\n" + ROW, "mine: unknown key 3"),
    "two rows of a name": (ROW + ROW[6:], "mine.rows: two rows are called a"),
    "a row without a name": (
        "rows:\n- model: {system: xu}\n",
        "mine.rows[1].name: expected a text",
    ),
    "a number as name": ("rows:\n- name: 3\n", "mine.rows[1].name: expected a text of one line"),
    "an empty name": ("rows:\n- name: ''\n", "mine.rows[1].name: expected a text of one line"),
    "a name of two lines": ('rows:\n- name: "a\\nb"\n', "expected a text of one line"),
    "an unknown key of a row": (ROW + "  colour: 3\n", "mine.rows[1]: unknown key colour"),
    "published": (ROW + "  published: {wa: 3}\n", "mine.a.published.wa: expected [share in 0-1"),
    # seeds
    "seeds as a number": (ROW + "seeds: 3\n", "mine.seeds: expected a list of whole numbers"),
    "seeds that are empty": (ROW + "seeds: []\n", "mine.seeds: expected a list of whole numbers"),
    "seeds as texts": (ROW + "seeds: [a]\n", "mine.seeds: expected a list of whole numbers"),
    "seeds as yes": (ROW + "seeds: [yes]\n", "mine.seeds: expected a list of whole numbers"),
    "a half seed": (ROW + "seeds: [1.5]\n", "mine.seeds: expected a list of whole numbers"),
    "a seed twice": (ROW + "seeds: [1, 1]\n", "mine.seeds: expected each seed once"),
    # models
    "no system": ("rows:\n- name: a\n  model: {}\n", "mine.a.model: key system is missing; known"),
    "an unknown system": (
        "rows:\n- name: a\n  model: {system: multilevl}\n",
        "mine.a.model.system: unknown system multilevl; did you mean multilevel?",
    ),
    "a number as system": ("rows:\n- name: a\n  model: {system: 3}\n", "unknown system 3"),
    "a text as model": ("rows:\n- name: a\n  model: multilevel\n", "mine.a.model: expected a map"),
    "nothing as model": ("rows:\n- name: a\n  model: null\n", "mine.a.model: expected a mapping"),
    "width 0": (model("width: 0"), "mine.a.model.width: expected"),
    "a width for no heads": (model("width: 7, num_heads: 2"), "expected a multiple of num_heads"),
    "no heads": (model("num_heads: 0"), "mine.a.model.num_heads: expected"),
    "a dropout of 1": (model("dropout: 1"), "mine.a.model.dropout: expected"),
    "a dropout below 0": (model("dropout: -0.5"), "mine.a.model.dropout: expected"),
    "unknown inputs": (model("inputs: video"), "expected one of both, audio, text, got 'video'"),
    "a list as inputs": (model("inputs: [audio]"), "expected one of both, audio, text"),
    "an unknown key of a model": (model("widht: 3"), "unknown key widht; did you mean width?"),
    "a file that is missing": (ROW + "models: [none.py]\n", "expected a Python file at"),
    "a folder as file of a model": (ROW + "models: [.]\n", "expected a Python file at"),
    "a home of nobody": (ROW + "models: ['~nobody-here/x.py']\n", "expected a Python file at"),
    "a text as models": (ROW + "models: x.py\n", "expected a list such as [my_model.py]"),
    # what rows share
    "a text as base": (ROW + "base: x\n", "mine.base: expected a mapping of keys, got 'x'"),
    "nothing as base": (ROW + "base:\n", "mine.base: expected a mapping of keys, got None"),
    "an unknown section": (ROW + "base: {trainin: {}}\n", "did you mean training?"),
    "a text as section": (base("training: fast"), "mine.a.training: expected a mapping of keys"),
    "a learning rate of 0": (base("training: {learning_rate: 0}"), "learning_rate: expected a num"),
    "a learning rate of nan": (base("training: {learning_rate: .nan}"), "learning_rate: expected"),
    "a learning rate of inf": (base("training: {learning_rate: .inf}"), "learning_rate: expected"),
    "a text as rate": (base("training: {learning_rate: fast}"), "expected float, got 'fast'"),
    "no epochs": (base("training: {max_epochs: 0}"), "max_epochs: expected a number"),
    "half an epoch": (base("training: {max_epochs: 1.5}"), "max_epochs: expected int, got 1.5"),
    "epochs as a text": (base("training: {max_epochs: '3'}"), "max_epochs: expected int, got '3'"),
    "yes as epochs": (base("training: {max_epochs: yes}"), "max_epochs: expected int, got True"),
    "a batch of 0": (base("training: {batch_size: 0}"), "batch_size: expected a number"),
    "a patience of 0": (base("training: {patience: 0}"), "patience: expected a number"),
    "a clip below 0": (base("training: {clip_norm: -1}"), "clip_norm: expected a number"),
    "an unknown precision": (base("training: {precision: int8}"), "expected one of float32, tf32"),
    "an unknown score": (base("training: {select_by: f2}"), "select_by: expected one of"),
    "an unknown weighting": (base("training: {class_weights: x}"), "expected one of none, bal"),
    "an unknown way of folds": (ROW + "base: {folds: {by: colour}}\n", "expected one of session"),
    "one fold": (ROW + "base: {folds: {number: 1}}\n", "mine.a.folds.number: expected a number"),
    "folds below 0": (ROW + "base: {folds: {number: -3}}\n", "folds.number: expected a number"),
    "more folds than speakers": (
        ROW + "base: {folds: {by: speaker, number: 10}}\n",
        "folds.by: speaker needs at least 10 speakers, got 3; use --set folds.number=3",
    ),
    "all as dev": (ROW + "base: {folds: {dev: 1}}\n", "mine.a.folds.dev: expected a number"),
    "a hop of 0": (base("features: {frames: {hop_ms: 0}}"), "hop_ms: expected a number"),
    "a window of 0": (base("features: {frames: {window_ms: 0}}"), "window_ms: expected a number"),
    "no bins": (base("features: {frames: {num_bins: 0}}"), "num_bins: expected a number"),
    "a text as frames": (base("features: {frames: x}"), "features.frames: expected a mapping"),
    "an unknown language": (base("features: {language: klingon}"), "mlt-ray corpus languages"),
    "a number as language": (base("features: {language: 3}"), "language: expected str, got 3"),
    "an unknown protocol": (ROW + "base: {protocol: x}\n", "unknown protocol x; known: paper"),
    # what counts
    "an unknown set": (base("labels: nine"), "mine.a.labels: unknown set nine; did you mean five?"),
    "a number as labels": (base("labels: 4"), "mine.a.labels: expected four, five, six, all"),
    "no labels": (base("labels: {}"), "labels: expected at least two classes, got 0"),
    "one class": (base("labels: {happy: [joy]}"), "expected at least two classes, got 1"),
    "no name of an emotion": (base("labels: {happy: 3, sad: x}"), "expected the name of an emot"),
    "a label of two classes": (base("labels: {a: [joy], b: [joy]}"), "expected joy once"),
    "a class of yes": (base("labels: [yes, sad]"), "put yes and no in quotes"),
    "classes that nobody has": (base("labels: [bored, calm]"), "corpus"),
}

CASES: Final = {
    name: Case(command=RUN, says=says, files={"mine.yaml": content})
    for name, (content, says) in _SAID.items()
} | {
    "a file that is missing": Case(
        command=RUN, says="mine.yaml: expected a study file, found none"
    ),
    "a model's file with a null byte": Case(
        command=RUN,
        says="own.py:1: SyntaxError",
        files={"mine.yaml": ROW + "models: [own.py]\n", "own.py": b"x = 1\0"},
    ),
    "a folder": Case(
        command=RUN, says="mine.yaml: expected a study file, found none", files={"mine.yaml/x": ""}
    ),
    "a name that is not shipped": Case(
        command="run tabel1 --corpus @corpus --dry-run",
        says="search_spaces: unknown study tabel1; did you mean table1?",
    ),
    "a name that a shipped study has": Case(
        command="run @here/table1.yaml --corpus @corpus --dry-run",
        says="expected a name of its own, got that of the shipped study table1",
        files={"table1.yaml": ROW},
    ),
    "a search space": Case(
        command="run layers --corpus @corpus --dry-run",
        says="layers: expected rows, got a search space; use mlt-ray search layers",
    ),
}
