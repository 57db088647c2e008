"""The phonemizer of each language."""

import functools

from mlt_ray.features.english import EnglishPhonemizer
from mlt_ray.features.ipa import IpaPhonemizer
from mlt_ray.features.pronunciation import Phonemizer
from mlt_ray.spec import ENGLISH


@functools.cache
def phonemizer_of(language: str) -> Phonemizer:
    """What pronounces words of a language: g2p_en's rules, or espeak-ng's."""
    return EnglishPhonemizer() if language == ENGLISH else IpaPhonemizer(language)
