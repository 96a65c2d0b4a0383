"""The longest parts of texts that occur in other texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class _SubstringIndex:
    """A suffix automaton (Blumer et al. 1985) of several texts: it recognizes all of their substrings.

    Time and memory grow linearly with the characters of the texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._link, self._length = [-1], [0]
        for text in texts:
            last = 0
            for character in text:
                last = self._extend(last, character)
        self._longest = [0] * len(self._next)

    def look_up(self, texts: Iterable[str]) -> None:
        """Find the indexed substrings that occur in one of these texts, but in no two of them together. Call it once."""
        following, link, length, longest = self._next, self._link, self._length, self._longest
        for text in texts:
            state = matched = 0
            for character in text:
                while state and character not in following[state]:
                    state = link[state]
                    matched = length[state]
                if character in following[state]:
                    state = following[state][character]
                    matched += 1
                if matched > longest[state]:
                    longest[state] = matched
        by_length = sorted(range(1, len(length)), key=length.__getitem__)
        for state in reversed(by_length):
            if longest[state]:  # its suffixes occur too
                longest[link[state]] = length[link[state]]
        for state in by_length:
            if not longest[state]:  # only shorter suffixes occur
                longest[state] = longest[link[state]]

    def longest_match(self, text: str) -> int:
        """Return the length of the longest substring of an indexed text that `look_up` has found, in characters."""
        state, best = 0, 0
        for character in text:
            state = self._next[state][character]
            best = max(best, self._longest[state])
        return best

    def _extend(self, last: int, character: str) -> int:
        known = self._next[last].get(character)
        if known is not None:  # the texts before have this prefix
            return known if self._length[known] == self._length[last] + 1 else self._clone(last, known, character)
        state = self._new(self._length[last] + 1, 0, {})
        while last >= 0 and character not in self._next[last]:
            self._next[last][character] = state
            last = self._link[last]
        if last >= 0:
            target = self._next[last][character]
            self._link[state] = target if self._length[target] == self._length[last] + 1 else self._clone(last, target, character)
        return state

    def _clone(self, last: int, target: int, character: str) -> int:
        clone = self._new(self._length[last] + 1, self._link[target], dict(self._next[target]))
        self._link[target] = clone
        while last >= 0 and self._next[last].get(character) == target:
            self._next[last][character] = clone
            last = self._link[last]
        return clone

    def _new(self, length: int, link: int, following: dict[str, int]) -> int:
        self._next.append(following)
        self._link.append(link)
        self._length.append(length)
        return len(self._next) - 1


def longest_overlaps(texts: Sequence[str], others: Iterable[str]) -> list[int]:
    """Return, for each text, the length in characters of its longest substring that occurs in one of the other texts."""
    index = _SubstringIndex(texts)
    index.look_up(others)
    return [index.longest_match(text) for text in texts]
