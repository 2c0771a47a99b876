"""The knowledge base of ExCEL: sentences that describe each class, its attributes.

The sentences of the paper carry no licence and are not shipped. Those of `attributes.yaml` are ours. A file
of your own, YAML or JSON, maps each class to a list of whole sentences; that of the authors has this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_text import tokenize
from wsss_bench.vocabulary import read

KEY = "model.init_args.enrichment.attributes"


def attribute_sentences(source: str | Mapping[str, Sequence[str]], class_names: Sequence[str]) -> list[str]:
    """All sentences about the classes, class by class in the order of `class_names`, in lower case.

    Args:
        source: Name of a list of `attributes.yaml`, a file, or the sentences of each class.
        class_names: Every one needs at least one sentence; other classes of the source are not used.

    Raises:
        FileNotFoundError: no such list and no such file.
        ValueError: the source is no table of sentences, or lacks a class.
    """
    table, where = _table(source)
    if missing := [name for name in class_names if not table.get(name)]:
        raise ValueError(
            f"{where} has no sentences for {', '.join(missing)}; "
            f"add them, or choose other attributes with {KEY}"
        )
    return [sentence.lower() for name in class_names for sentence in table[name]]


def require_readable(clip: CLIP, sentences: Sequence[str]) -> None:
    """Check that CLIP reads every sentence to its end, and knows every word of it.

    Raises:
        ValueError: a sentence that would be cut, or that has a word without a token.
    """
    tokens = tokenize(clip, sentences, length=clip.text_length + 1)  # one more than is read
    for row, sentence in enumerate(sentences):
        ids = tokens.word_ids(row)
        if len(ids) + 2 > clip.text_length:
            raise ValueError(
                f"the attribute {sentence[:60]!r} ... has more than the {clip.text_length} tokens that CLIP "
                f"reads; shorten it in {KEY}"
            )
        if clip.tokenizer.unk_token_id in ids and not _is_end(clip):
            raise ValueError(
                f"CLIP's tokenizer does not know all words of the attribute {sentence!r}; "
                f"describe the class in other words in {KEY}"
            )


def _is_end(clip: CLIP) -> bool:
    """Whether the token for unknown words is the end token: OpenAI's tokenizer knows all words."""
    return bool(clip.tokenizer.unk_token_id == clip.tokenizer.eos_token_id)


def _table(source: str | Mapping[str, Sequence[str]]) -> tuple[dict[str, list[str]], str]:
    """Sentences by class, and how to name their source."""
    if not isinstance(source, str):
        return _checked(source, KEY), KEY
    shipped = read("attributes", __package__)
    if source in shipped:
        listed = shipped[source]
        table = {
            name: [listed["template"].format(name, sentence) for sentence in sentences]
            for name, sentences in listed["attributes"].items()
        }
        return table, f"the list {source!r} of attributes"
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"no file and no list of attributes {source!r}; "
            f"the lists are {', '.join(sorted(shipped))} ({KEY})"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML or JSON in UTF-8: {error}") from error
    return _checked(content, str(path)), str(path)


def _checked(content: Any, where: str) -> dict[str, list[str]]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} must map each class to a list of sentences, not {type(content).__name__}")
    for name, sentences in content.items():
        if not isinstance(sentences, list) or not all(isinstance(s, str) and s.strip() for s in sentences):
            raise ValueError(f"{where}: the class {name} needs a list of sentences, got {sentences!r:.60}")
    return {str(name): list(sentences) for name, sentences in content.items()}
