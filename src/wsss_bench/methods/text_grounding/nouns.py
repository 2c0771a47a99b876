"""Noun extraction from captions: a part-of-speech tagger (NLTK) or a fixed vocabulary.

CoDe (Wu et al., CVPR 2024) tags captions with NLTK and keeps the words with a noun tag. The tagger's model is
a download of its own; a fixed vocabulary needs none and never takes `train` for a verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from wsss_bench import vocabulary

NounExtractor = Callable[[str], list[str]]
"""Caption -> its nouns, each once and in the caption's spelling.

They are sorted, so that a random seed draws the same nouns in every process.
"""

NOUN_TAGS = frozenset({"NN", "NNP", "NNS", "NNPS"})
"""Penn Treebank tags of nouns."""


def noun_extractor(name: str) -> NounExtractor:
    """The extractor of a config: `nltk`, or the name of a vocabulary with nouns.

    Vocabularies are `wsss_bench/vocabulary/<name>.yaml`; theirs are under the key `nouns`.

    Raises:
        ImportError, LookupError: NLTK or its models are not installed.
        ValueError: no such vocabulary, or one without nouns.
    """
    if name == "nltk":
        return TaggedNouns()
    return VocabularyNouns(vocabulary.nouns(name))


class VocabularyNouns:
    """Finds the words of a list, in any capitalisation, singular or plural.

    Args:
        words: Nouns in the singular. A compound (`hot air balloon`) is one noun; its parts are not found.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if not words:
            raise ValueError("the vocabulary of nouns is empty; name at least one")
        forms = {form for word in words for form in (word, plural(word))}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)

    def __call__(self, caption: str) -> list[str]:
        return unique(self._pattern.findall(caption))


class TaggedNouns:
    """Finds the words that NLTK's tagger marks as nouns, as CoDe does.

    Raises:
        ImportError: NLTK is not installed.
        LookupError: its models are not.
    """

    def __init__(self) -> None:
        try:
            import nltk
        except ImportError as error:
            raise ImportError(
                "nouns: nltk needs the package nltk; install `wsss_bench[nouns]`, or name a vocabulary "
                "with nouns"
            ) from error
        self._nltk = nltk
        # fail here if a model is missing, not in the first training step
        self("a photo of a dog")

    def __call__(self, caption: str) -> list[str]:
        try:
            tagged = self._nltk.pos_tag(self._nltk.word_tokenize(caption))
        except LookupError as error:
            raise LookupError(
                "nouns: nltk needs the models of its tokenizer and tagger; run "
                "`python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng` once, or name a "
                "vocabulary with nouns"
            ) from error
        return unique(drop_symbols([word for word, tag in tagged if tag in NOUN_TAGS]))


def drop_symbols(words: Sequence[str]) -> list[str]:
    """Leave out single lower-case letters and angle brackets: CC12M's `<PERSON>` is the noun `PERSON`."""
    return [word for word in words if not re.fullmatch(r"[a-z<>]", word)]


def unique(words: Sequence[str]) -> list[str]:
    """Sorted, without words that differ from an earlier one in capitals only."""
    return sorted({word.lower(): word for word in reversed(words)}.values())


def plural(word: str) -> str:
    """The regular English plural."""
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"
