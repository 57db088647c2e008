"""Writes the demo corpus: synthetic speech in which voice and words each show the emotion.

Neither shows it in every utterance, so a model that uses both beats a model that uses one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from mlt_ray.corpus.synthetic.lines import Line
from mlt_ray.corpus.synthetic.synthesize import OnSpoken, write_corpus
from mlt_ray.corpus.synthetic.voices import VOICES, draw_prosody
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR

CLASS_SHARES: Final = {"angry": 0.20, "happy": 0.30, "neutral": 0.30, "sad": 0.20}
"""Shares of the classes in every session."""

SHARE_OWN_TEXT: Final = 0.62
"""Share of the utterances with words that fit their own emotion."""

SHARE_ANY_TEXT: Final = 0.08
"""Share of the utterances with words for an emotion drawn at random; the rest is neutral."""

SHARE_WORDLESS: Final = 0.01
"""Share of the utterances without words, as in IEMOCAP (31 of 5531)."""

SHARE_TAGGED: Final = 0.06
"""Share of the happy and sad utterances with a tag, as in IEMOCAP (172 of 5531 in all)."""

TAGS: Final = {"happy": "[LAUGHTER]", "sad": "[BREATHING]"}
"""Tag of a sound in the transcript. It is not a word and is not spoken."""

WORDLESS: Final = {"angry": "argh", "happy": "ha ha ha ha", "neutral": "hmm", "sad": "oh haah"}
"""Sounds of utterances without words, spelt for the synthesiser."""


@dataclass(frozen=True)
class Phrases:
    """Sentences with slots, and words for ``{adj}`` and ``{verb}``; `SLOTS` has the others."""

    sentences: tuple[str, ...]
    adj: tuple[str, ...] = ("",)
    verb: tuple[str, ...] = ("",)


PHRASES: Final = {
    "angry": Phrases(
        (
            "I am so {adj} that you {verb} my {noun}.",
            "Why would you do that, you {verb} the {noun} again?",
            "Stop it, I am {adj} with you.",
            "This is {adj}, they {verb} everything about the {noun}.",
            "Do not lie to me, you {verb} my {noun}.",
            "You are an idiot, get out of my {noun}.",
        ),
        adj=("furious", "outraged", "angry", "livid", "disgusted", "hostile"),
        verb=("ruined", "broke", "stole", "wrecked", "insulted", "ignored"),
    ),
    "happy": Phrases(
        (
            "I am so {adj} that we {verb} the {noun}.",
            "This is {adj} news about the {noun}.",
            "Congratulations, you {verb} the {noun}.",
            "We had a {adj} time and I {verb} the {noun}.",
            "I love this {noun}, it is {adj}.",
            "Thank you, that is a {adj} {noun}.",
        ),
        adj=("wonderful", "delighted", "thrilled", "happy", "glad", "fantastic"),
        verb=("won", "loved", "enjoyed", "celebrated", "finished", "adored"),
    ),
    "neutral": Phrases(
        (
            "The {noun} is next to the {place}.",
            "I will call you about the {noun} on {day}.",
            "We talked about the {noun} and the {place}.",
            "There are {number} people in the {noun}.",
            "Can you tell me where the {noun} is?",
            "I think the {noun} starts at {number}.",
            "He said the {noun} is on the {place}.",
            "They moved the {noun} on {day}.",
            "Did you hear what happened with the {noun}?",
            "I have to take the {noun} to the {place}.",
            "You know what I mean about the {noun}.",
            "Okay, so we go to the {noun} on {day}.",
        )
    ),
    "sad": Phrases(
        (
            "I am so {adj} that we {verb} the {noun}.",
            "I feel {adj} since I {verb} my {noun}.",
            "She died and I {verb} the {noun}.",
            "I cried all night, I {verb} my {noun}.",
            "It hurts, I am {adj} without the {noun}.",
            "Nobody came and I felt {adj} about the {noun}.",
        ),
        adj=("lonely", "heartbroken", "sad", "miserable", "hopeless", "sorry"),
        verb=("lost", "missed", "buried", "mourned", "abandoned", "forgot"),
    ),
}
"""Phrases of each emotion. Some words show the emotion; some sentence patterns are shared."""

_NOUNS: Final = (
    "house",
    "car",
    "letter",
    "meeting",
    "dinner",
    "garden",
    "office",
    "phone",
    "school",
    "train",
    "story",
    "brother",
    "holiday",
    "picture",
    "table",
    "game",
)

SLOTS: Final = {
    "noun": _NOUNS,
    "place": _NOUNS,
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "number": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"),
}
"""Words for the slots that do not depend on the emotion."""

_NUM_SESSIONS: Final = 5
_MIN_UTTERANCES: Final = 20  # one per class and session
_SHARE_SCRIPTED: Final = 0.47
_UNALIGNED_SESSION: Final = "Session3"


def write_demo(
    out: Path,
    *,
    seed: int = 0,
    utterances: int = 600,
    workers: int | None = None,
    progress: OnSpoken | None = None,
) -> None:
    """Write the demo corpus into the new folder `out`, in IEMOCAP's layout.

    Each of the five sessions has a woman, a man and `CLASS_SHARES`. Some flaws of IEMOCAP are
    copied: a few utterances have no words or have tags, one has no alignment, and there are stray
    files of macOS. The same arguments give the same bytes. Raises `UserError` as `write_corpus`
    does, and for fewer than 20 utterances.
    """
    if utterances < _MIN_UTTERANCES:
        raise UserError(
            f"demo corpus: expected at least {_MIN_UTTERANCES} utterances, got {utterances}"
        )
    write_corpus(
        demo_lines(seed=seed, utterances=utterances),
        out,
        seed=seed,
        workers=workers,
        progress=progress,
        finish=_add_flaws,
    )


def demo_lines(*, seed: int, utterances: int) -> list[Line]:
    """The lines of the demo corpus, session by session; its two speakers take turns."""
    rng = np.random.default_rng(seed)
    speakers = list(VOICES)
    lines = []
    for session in range(_NUM_SESSIONS):
        count = utterances // _NUM_SESSIONS + (session < utterances % _NUM_SESSIONS)
        for i, emotion in enumerate(rng.permutation(_emotions(count)).tolist()):
            text = _text(_topic(emotion, rng), rng)
            if emotion in TAGS and rng.random() < SHARE_TAGGED:
                text = (
                    f"{TAGS[emotion]} {text}" if rng.random() < 0.5 else f"{text} {TAGS[emotion]}"
                )
            speaker = speakers[2 * session + i % 2]
            scripted = i < _SHARE_SCRIPTED * count
            lines.append(Line(speaker=speaker, emotion=emotion, text=text, scripted=scripted))
    for i in rng.choice(len(lines), max(1, round(SHARE_WORDLESS * len(lines))), replace=False):
        lines[i] = _wordless(lines[i], rng)
    return lines


def is_demo(corpus: Corpus) -> bool:
    """True if the texts of a corpus, but for tags and utterances without words, are the demo's."""
    texts = {_without_tags(u.text) for u in corpus.utterances} - {""}
    patterns = [
        re.compile(re.sub(r"\\{\w+\\}", r"[\\w ]+", re.escape(sentence)))
        for phrases in PHRASES.values()
        for sentence in phrases.sentences
    ]
    return bool(texts) and all(any(p.fullmatch(text) for p in patterns) for text in texts)


def _without_tags(text: str) -> str:
    for tag in TAGS.values():
        text = text.replace(tag, "")
    return text.strip()


def _wordless(line: Line, rng: np.random.Generator) -> Line:
    """The line with a sound instead of words, in a neutral voice."""
    return replace(
        line,
        text=TAGS.get(line.emotion, ""),
        sound=WORDLESS[line.emotion],
        prosody=draw_prosody("neutral", VOICES[line.speaker], rng),
    )


def _emotions(count: int) -> list[str]:
    """`count` emotions with `CLASS_SHARES`, rounded by the largest-remainder method."""
    exact = {emotion: share * count for emotion, share in CLASS_SHARES.items()}
    counts = {emotion: int(quota) for emotion, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda emotion: counts[emotion] - exact[emotion])
    for emotion in by_remainder[: count - sum(counts.values())]:
        counts[emotion] += 1
    return [emotion for emotion, number in counts.items() for _ in range(number)]


def _topic(emotion: str, rng: np.random.Generator) -> str:
    """The emotion that the words express."""
    drawn = rng.random()
    if drawn < SHARE_OWN_TEXT:
        return emotion
    return _pick(FOUR, rng) if drawn < SHARE_OWN_TEXT + SHARE_ANY_TEXT else "neutral"


def _text(topic: str, rng: np.random.Generator) -> str:
    """A sentence of the topic with random words in its slots."""
    phrases = PHRASES[topic]
    fillers = {"adj": phrases.adj, "verb": phrases.verb, **SLOTS}
    sentence = _pick(phrases.sentences, rng)
    return sentence.format(**{slot: _pick(words, rng) for slot, words in fillers.items()})


def _pick(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]


def _add_flaws(root: Path) -> None:
    """Remove an alignment and add files that macOS leaves, as in copies of IEMOCAP."""
    session = root / _UNALIGNED_SESSION
    min(session.glob("sentences/ForcedAlignment/*/*.wdseg")).unlink()
    transcript = min(session.glob("dialog/transcriptions/*.txt"))
    apple_double = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
    transcript.with_name(f"._{transcript.name}").write_bytes(apple_double)
    evaluation = min(session.glob("dialog/EmoEvaluation/*.txt"))
    evaluation.with_name(f"._{evaluation.name}").write_bytes(apple_double)
    (session / "sentences" / "wav" / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
