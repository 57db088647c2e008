"""Search spaces that cannot be searched."""

from typing import Final

from tests.bad_input.case import Case, Content

SEARCH: Final = "search @here/mine.yaml --corpus @corpus --store @here/new --dry-run"


def space(parameters: str, rest: str = "") -> str:
    return (
        "base: {folds: {by: speaker, number: 3}, model: {system: multilevel}}\n"
        f"space: {{{parameters}}}\n{rest}"
    )


WIDTH: Final = "model.width: {choice: [8, 16]}"

_SAID: Final[dict[str, tuple[Content, str]]] = {
    "empty": ("", "mine"),
    "rows": ("rows:\n- name: a\n  model: {system: xu}\n", "mine"),
    "no parameters": (space(""), "mine.space: expected"),
    "a text as space": ("space: x\n", "mine.space: expected"),
    "an unknown key": (space(WIDTH, "colour: 3\n"), "mine: unknown key colour"),
    "a parameter without a section": (space("width: {choice: [1, 2]}"), "expected section.key"),
    "an unknown section": (space("modl.width: {choice: [1, 2]}"), "expected section.key"),
    "an unknown key of a model": (space("model.widht: {choice: [8, 16]}"), "unknown key widht"),
    "a parameter as a number": (space("model.width: 3"), "mine.space.model.width"),
    "an unknown kind": (space("model.width: {pick: [1, 2]}"), "mine.space.model.width"),
    "two kinds": (space("model.width: {int: [1, 2], choice: [1]}"), "mine.space.model.width"),
    "no choices": (space("model.width: {choice: []}"), "mine.space.model.width"),
    "a text as choices": (space("model.width: {choice: x}"), "mine.space.model.width"),
    "lists as choices": (space("model.width: {choice: [[1], [2]]}"), "mine.space.model.width"),
    "a range of one": (space("model.width: {int: [8]}"), "expected [lowest, highest]"),
    "a range downwards": (space("model.width: {int: [16, 8]}"), "expected [lowest, highest]"),
    "a range of halves": (space("model.width: {int: [1.5, 3]}"), "expected [lowest, highest]"),
    "a range of texts": (space("model.dropout: {float: [a, b]}"), "expected [lowest, highest]"),
    "a logarithm from 0": (space("training.learning_rate: {log: [0, 1]}"), "above 0"),
    "a step of 0": (space("model.width: {int: [8, 16], step: 0}"), "mine.space.model.width.step"),
    "a step too wide": (space("model.width: {int: [8, 16], step: 99}"), "step: expected a number"),
    "an unknown sampler": (space(WIDTH, "search: {sampler: x}\n"), "mine.search.sampler"),
    "an unknown pruner": (space(WIDTH, "search: {pruner: x}\n"), "mine.search.pruner"),
    "no trials": (space(WIDTH, "search: {trials: 0}\n"), "mine.search.trials: expected"),
    "none of the best": (space(WIDTH, "search: {best: 0}\n"), "mine.search.best: expected"),
    "a seed below 0": (space(WIDTH, "search: {sampler_seed: -1}\n"), "mine.search.sampler_seed"),
    "an unknown key of the search": (space(WIDTH, "search: {trails: 3}\n"), "did you mean trials?"),
    "an unknown objective": (space(WIDTH, "search: {objectives: [x]}\n"), "mine.search"),
    "seeds as texts": (space(WIDTH, "seeds: [a]\n"), "mine.seeds: expected a list of whole num"),
    "a fold below 1": (space(WIDTH, "search: {folds: [0]}\n"), "mine.search.folds: expected"),
    "a fold that is not there": (
        space(WIDTH, "search: {folds: [9]}\n"),
        "mine.search.folds: expected",
    ),
    "a grid of what is countless": (
        space("model.dropout: {float: [0.1, 0.2]}", "search: {sampler: grid}\n"),
        "mine.space.model.dropout",
    ),
}

CASES: Final = {
    name: Case(command=SEARCH, says=says, files={"mine.yaml": content})
    for name, (content, says) in _SAID.items()
} | {
    "a study": Case(command="search table1 --corpus @corpus --dry-run", says="table1"),
    "a file that is missing": Case(command=SEARCH, says="mine.yaml: expected"),
}
