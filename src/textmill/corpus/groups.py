"""Pairs that must stay together: what one of them teaches, another would answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

_BLOCK_ROWS = 2000


def normalized_source(source: str) -> str:
    """A source without what does not make it another: case, digits, punctuation. The source itself if nothing is left."""
    letters = "".join(character if character.isalpha() else " " for character in source.casefold())
    return " ".join(letters.split()) or source


def group_numbers(pairs: pd.DataFrame, similarity: float) -> np.ndarray:
    """The number of every pair's group, (N,) int.

    Groups are connected components over: an equal non-empty `group`, an equal normalized source, and normalized sources
    whose TF-IDF vectors over character 2- to 4-grams have a cosine of at least `similarity`.
    """
    texts, text_of_row = np.unique([normalized_source(source) for source in pairs["source"]], return_inverse=True)
    first, second = _similar(texts.tolist(), similarity)
    size = len(texts) + len(pairs)  # one node a text, and one for every group of the user
    groups = pairs["group"].to_numpy(dtype=object)
    named, number_of_row = np.unique(groups.astype(str), return_inverse=True)
    has_group = groups != ""
    edges_from = np.concatenate([first, text_of_row[has_group]])
    edges_to = np.concatenate([second, len(texts) + number_of_row[has_group]])
    assert len(named) <= len(pairs)
    graph = coo_matrix((np.ones(len(edges_from), dtype=np.int8), (edges_from, edges_to)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    numbers: np.ndarray = np.unique(component[text_of_row], return_inverse=True)[1]
    return numbers


def _similar(texts: list[str], similarity: float) -> tuple[np.ndarray, np.ndarray]:
    """Places of all pairs of texts that are similar enough; the product is taken block by block to bound memory."""
    nothing = np.array([], dtype=np.int64)
    if similarity >= 1 or len(texts) < 2:
        return nothing, nothing
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32, lowercase=False).fit_transform(texts)
    firsts, seconds = [nothing], [nothing]
    for start in range(0, len(texts), _BLOCK_ROWS):
        product = (vectors[start : start + _BLOCK_ROWS] @ vectors.T).tocoo()
        near = (product.data >= similarity) & (product.row + start < product.col)
        firsts.append(product.row[near] + start)
        seconds.append(product.col[near])
    return np.concatenate(firsts), np.concatenate(seconds)
