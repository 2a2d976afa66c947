"""The words of a corpus, without a built-in language: inflections as one word, stop words found in the texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer

from sae_kedro.errors import InputError

Tokens = Callable[[str], list[str]]
"""What cuts a text into words; they hold no blank."""
Floats = NDArray[np.floating[Any]]

MIN_TEXTS, MIN_TEXTS_OF_PAIR, MIN_TEXTS_OF_PART = 2, 5, 5
"""Texts that have a word, a pair or a part, at least. With 5 for words, titles lose .025 of AUROC (measured)."""
PARTS, MIN_WORDS_OF_PART = range(2, 7), 4
"""Letters of a part; words that have it, at least."""
SHORTEST_STEM, LONGEST_ENDING = 3, 4
"""Letters that inflections share, and that differ."""
SAME_WORD = 0.45
"""Smallest evidence, a cosine, that two forms are one word."""
TRUST, TRUST_IN_ENDINGS, ENOUGH = 5.0, 50.0, 20.0
"""Texts with a form that weigh as much as what is known of its ending; texts with an ending that weigh as much as the
suspicion that it is none; texts of one form that count for its ending."""
STOP_SHARE, STOP_TEXTS, STOP_COSINE = 0.002, 20, 0.015
"""A stop word is in at least that share and number of the texts, and their mean cosine is at most that."""


class Vocabulary(NamedTuple):
    """What keywords are chosen from: words, pairs of neighbours, and parts of words such as `geo*` and `*metry`.

    A word stands for all inflections of it. Encoders of sentences read pieces of words, and so do latents.
    """

    names: list[str]
    """In the form that most texts have; two with a blank between them for a pair."""
    parts: NDArray[np.int64]
    """`(n, 2)`: the word, or the two words, that each is made of; the second is -1 for a word, both for a part."""
    entries: dict[str, int]
    """Which of `names` each form is."""
    stop_words: frozenset[str]
    presence: sparse.csr_array
    """`(n_texts, n)`, float32: 1 where a text has it."""
    tokens: Tokens | None

    @property
    def is_word(self) -> NDArray[np.bool_]:
        """Mark words, `(n,)`."""
        return np.asarray((self.parts[:, 0] >= 0) & (self.parts[:, 1] < 0))

    @property
    def words_of_parts(self) -> sparse.csr_array:
        """Tell which words begin or end with which part: `(n, n)`, rows of parts."""
        words, parts = [], []
        for form, word in self.entries.items():
            if "*" not in form and " " not in form:
                found = [self.entries[part] for part in parts_of(form) if part in self.entries]
                parts += found
                words += [word] * len(found)
        return sparse.csr_array((np.ones(len(words), np.float32), (parts, words)), shape=(len(self.names),) * 2)

    def presence_in(self, texts: Sequence[str]) -> sparse.csr_array:
        """Tell which of other texts have what: `(len(texts), n)`, float32."""
        found, names, _ = _count(texts, self.tokens)
        return _merged(found, names, self.entries, self.stop_words, len(self.names))


def read_vocabulary(texts: Sequence[str], vectors: Floats, tokens: Tokens | None = None) -> Vocabulary:
    """Find the words of texts, which are inflections of one another, and which say nothing.

    No language is built in. Words that begin alike are one if the texts that have them lie close together; for rare
    words the endings count, too, if they are inflections elsewhere in the corpus. A stop word is frequent, and its
    texts lie no closer together than any. What holds no letter, or two digits in a row, is a number.

    Args:
        texts: At least one.
        vectors: `(n, act_size)`: their embeddings, centred, of norm 1.
        tokens: What cuts a text into words; None: runs of at least two letters or digits, as in scikit-learn.

    Raises:
        InputError: No word is in two texts.
    """
    found, names, counts = _count(texts, tokens)
    is_pair = np.array([" " in name for name in names], dtype=bool)
    worded = np.flatnonzero(~is_pair & np.array([is_word(name) for name in names], dtype=bool))
    sums = np.asarray(found[:, worded].T @ vectors)
    telling = ~_stop_words(sums, counts[worded], len(texts))
    stop = frozenset(names[worded[~telling]].tolist())
    worded, sums = worded[telling], sums[telling]
    repeated = counts[worded] >= MIN_TEXTS
    single, sums = worded[repeated], sums[repeated]
    if not len(single):
        raise InputError("labels need texts with words; no word is in two of these texts")
    family = dict(zip(names[single], inflections(list(names[single]), counts[single], sums).tolist(), strict=True))
    kept, keys = list(single), [(family[name], -1) for name in names[single]]
    for column in np.flatnonzero(is_pair & (counts >= MIN_TEXTS_OF_PAIR)):
        first, _, second = names[column].partition(" ")
        if first in family and second in family and family[first] != family[second]:
            kept.append(column)
            keys.append((family[first], family[second]))
    shown, own, entries = _named(names[kept], counts[kept], keys)
    parts = _frequent_parts(found[:, worded], names[worded])
    entries |= {part: len(shown) + index for index, part in enumerate(parts)}
    own = np.concatenate([own, np.full((len(parts), 2), -1)])
    shown += parts
    return Vocabulary(shown, own, entries, stop, _merged(found, names, entries, stop, len(shown)), tokens)


def parts_of(word: str) -> list[str]:
    """List the beginnings and endings of a word: `["st*", "sta*", "*rs", "*ars"]` and so on for `stars`."""
    return [part for n in PARTS if n < len(word) for part in (f"{word[:n]}*", f"*{word[-n:]}")]


def _frequent_parts(found: sparse.csr_array, words: NDArray[Any]) -> list[str]:
    """List the parts that several words, and several texts, have."""
    number: dict[str, int] = {}
    pairs = [(index, number.setdefault(part, len(number))) for index, w in enumerate(words) for part in parts_of(w)]
    row, column = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    member = sparse.csr_array((np.ones(len(pairs), np.float32), (row, column)), shape=(len(words), len(number)))
    member = member[:, np.asarray(member.sum(axis=0)).ravel() >= MIN_WORDS_OF_PART]
    names = np.array(list(number), dtype=object)[np.bincount(column, minlength=len(number)) >= MIN_WORDS_OF_PART]
    present = sparse.csr_array(found @ member)
    texts = np.bincount(present.indices, minlength=len(names))
    return sorted(names[texts >= MIN_TEXTS_OF_PART].tolist())


def _named(
    names: NDArray[Any], counts: Floats, keys: list[tuple[int, int]]
) -> tuple[list[str], NDArray[np.int64], dict[str, int]]:
    """Make one word of the forms that share a key, which is a word or two; name it by the most frequent form."""
    parts, entry = np.unique(np.array(keys, dtype=np.int64).reshape(-1, 2), axis=0, return_inverse=True)
    entry = entry.ravel()
    frequent = np.lexsort((names.astype(str), -counts, entry))
    first = frequent[np.unique(entry[frequent], return_index=True)[1]]
    word_of = {int(family): index for index, (family, second) in enumerate(parts) if second < 0}
    own = np.array([[word_of[a], word_of.get(b, -1)] for a, b in parts.tolist()], dtype=np.int64)
    return names[first].tolist(), own, dict(zip(names.tolist(), entry.tolist(), strict=True))


def is_word(name: str) -> bool:
    """Tell whether a token is more than a number: it holds a letter, and no two digits in a row."""
    digits = [character.isdigit() for character in name]
    return any(character.isalpha() for character in name) and not any(map(all, pairwise(digits)))


def inflections(words: list[str], counts: Floats, sums: Floats) -> NDArray[np.int64]:
    """Find which words are inflections of one: `(n,)`, a number for each, the same for forms of the same word.

    Args:
        words: Forms, each once.
        counts: `(n,)`: texts that have each.
        sums: `(n, act_size)`: the sum of their embeddings, which are centred and of norm 1.
    """
    pairs, endings = _alike(words)
    if not len(pairs):
        return np.arange(len(words))
    a, b = pairs.T
    unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    cosine, fewer = np.einsum("ij,ij->i", unit[a], unit[b]), np.minimum(counts[a], counts[b])
    weight = np.minimum(fewer, ENOUGH)
    usual = np.bincount(endings, weight * cosine) / (np.bincount(endings, weight) + TRUST_IN_ENDINGS)
    same = (fewer * cosine + TRUST * usual[endings]) / (fewer + TRUST) >= SAME_WORD
    graph = sparse.coo_array((np.ones(same.sum()), (a[same], b[same])), shape=(len(words), len(words)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _alike(words: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List pairs of words that differ in their endings only, `(n, 2)`, and a number for the two endings, `(n,)`."""
    begin: defaultdict[str, list[int]] = defaultdict(list)
    for index, word in enumerate(words):
        for length in range(max(SHORTEST_STEM, len(word) - LONGEST_ENDING), len(word) + 1):
            begin[word[:length]].append(index)
    pairs, endings, numbers = [], [], dict[tuple[str, ...], int]()
    for stem, members in begin.items():
        length = len(stem)
        for a, b in combinations(members, 2):
            first, second = words[a][length:], words[b][length:]
            if first[:1] != second[:1] and max(len(first), len(second)) <= length:
                pairs.append((a, b))
                endings.append(numbers.setdefault(tuple(sorted((first, second))), len(numbers)))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(endings, dtype=np.int64)


def _stop_words(sums: Floats, counts: Floats, n_texts: int) -> NDArray[np.bool_]:
    """Mark words `(n,)` that are frequent and whose texts have hardly anything in common."""
    cosine = (np.einsum("ij,ij->i", sums, sums) - counts) / np.maximum(counts * (counts - 1), 1)
    frequent = (counts >= STOP_SHARE * n_texts) & (counts >= STOP_TEXTS)
    return np.asarray(frequent & (cosine <= STOP_COSINE))


def _count(texts: Sequence[str], tokens: Tokens | None) -> tuple[sparse.csr_array, NDArray[Any], Floats]:
    """Return which text has which word or pair `(n_texts, n)`, their names `(n,)`, and in how many texts they are."""
    pattern = r"(?u)\b\w\w+\b" if tokens is None else None
    counter = CountVectorizer(
        binary=True, ngram_range=(1, 2), dtype=np.float32, tokenizer=tokens, token_pattern=pattern
    )
    try:
        found = sparse.csr_array(counter.fit_transform(texts))
    except ValueError:  # scikit-learn's answer to texts without words
        return sparse.csr_array((len(texts), 0), dtype=np.float32), np.array([], dtype=object), np.zeros(0)
    return found, counter.get_feature_names_out(), np.bincount(found.indices, minlength=found.shape[1]).astype(float)


def _merged(
    found: sparse.csr_array, names: NDArray[Any], entries: dict[str, int], stop: frozenset[str], n: int
) -> sparse.csr_array:
    """Turn the presence of forms `(n_texts, n_forms)` into that of the entries that they belong to."""
    row, column = [], []
    for index, name in enumerate(names):
        own = [entries[name]] if name in entries else []
        if " " not in name and name not in stop and is_word(name):
            own += [entries[part] for part in parts_of(name) if part in entries]
        row += [index] * len(own)
        column += own
    columns = sparse.csr_array((np.ones(len(row), dtype=np.float32), (row, column)), shape=(len(names), n))
    present = sparse.csr_array(found @ columns)
    present.data[:] = 1
    present.sort_indices()
    return present
