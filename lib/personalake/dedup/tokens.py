"""Texts as sets of hashed tokens: what similarity is measured on."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from personalake.dedup.ragged import Ragged, int64_list, mixed

SPARK_SEED = 42
"""Seed of Spark's ``xxhash64``, so that a token's hash can be checked in SQL."""

_ASCII_WORD = re.compile("[0-9a-z]+")

# Scripts that are written without spaces between words, as ranges of code points; their digits are left to words.
_UNSPACED = (
    (0x0E01, 0x0E3A), (0x0E40, 0x0E4E),  # Thai
    (0x0E81, 0x0ECE), (0x0EDC, 0x0EDF),  # Lao
    (0x1000, 0x103F), (0x1050, 0x108F), (0x109A, 0x109D), (0xA9E0, 0xA9EF), (0xAA60, 0xAA7F),  # Myanmar
    (0x1780, 0x17D3), (0x17DC, 0x17DD),  # Khmer
    (0x3041, 0x3096), (0x3099, 0x309A), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),  # kana
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),  # Han
    (0x1B000, 0x1B16F), (0x20000, 0x3FFFD),  # historic kana; Han beyond the first plane
)  # fmt: skip

_UNSPACED_RUN = re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in _UNSPACED) + "]+")

# Nobody sees these (soft hyphen, joiners, directions, selectors), so two texts that differ in them alone are the same.
_INVISIBLE = re.compile("[\u00ad\u200c-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]+")

# The small letter or digit that a byte stands for in a word; 0 for bytes that part words.
_FOLDED = np.zeros(256, dtype=np.uint8)
for _byte in b"0123456789abcdefghijklmnopqrstuvwxyz":
    _FOLDED[_byte] = _FOLDED[ord(chr(_byte).upper())] = _byte

# Signs that part words and nothing else, as UTF-8: quotes, dashes, dots and blanks that nearly every page of the web
# has, and often nothing else beyond ASCII. Not U+2017, nor others that NFKC turns into a letter, digit or mark.
_C2, _E2, _80, _BLANK = 0xC2, 0xE2, 0x80, 0x20
_BEYOND, _SHORT = 0x80, 64
# Bytes that begin a sign of Han or kana, nearly always: texts with one needn't be looked at word by word first.
_MOSTLY_UNSPACED = np.isin(np.arange(256), range(0xE3, 0xEA))
_SIGNS_C2 = np.isin(np.arange(256), [ord(sign) for sign in "\u00a0¡§©«®°·»¿"])
_SIGNS_E280 = np.isin(np.arange(256), [*range(0x90, 0x97), *range(0x98, 0xA8)])  # U+2010 to U+2027

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]


def token_list(text: str) -> list[str]:
    """Return the tokens of *text* in their order: words, and character pairs where a script has no spaces.

    The text is folded first (NFKC and case), so that width, ligatures and capitals don't count. A word is a run of
    letters, their marks and digits; anything else parts words. A run of Han, kana, Thai, Lao, Khmer or Myanmar
    characters gives its character bigrams, a lone character itself; in a text with both, the words come first. A text
    without any (empty, or symbols only) has no tokens.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    found, runs = _words_and_runs(text)
    for run in runs:
        found.extend(map("".join, itertools.pairwise(run)) if len(run) > 1 else run)
    return found


def _words_and_runs(text: str) -> tuple[list[str], list[str]]:
    """The words of *text*, and its runs of characters that are written without spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _INVISIBLE.sub("", folded).replace("_", " ")
    runs = _UNSPACED_RUN.findall(folded)
    return _word().findall(_UNSPACED_RUN.sub(" ", folded) if runs else folded), runs


def tokens(text: str) -> set[str]:
    """Return the distinct tokens of *text*; see :func:`token_list`."""
    return set(token_list(text))


def only_here(text: str, other: set[str]) -> list[tuple[int, int]]:
    """Return where *text* has something that the tokens *other* have not: from and to, as it is written.

    That is a word, or a character of a run without spaces none of whose pairs is in *other*.
    """
    found = []
    for match in _written().finditer(text):
        start, end = match.span()
        if match["run"] is None:
            found += [(start, end)] if not other.issuperset(token_list(match[0])) else []
            continue
        for at in range(start, end):
            pairs = text[max(at - 1, start) : at + 1], text[at : min(at + 2, end)]
            if other.isdisjoint(itertools.chain(*map(token_list, pairs))):
                found.append((at, at + 1))
    return found


def token_hashes(texts: pa.Array, shingle: int = 1) -> pa.ListArray:
    """Return for each text the sorted distinct 64-bit hashes of its tokens (``list<int64>``); a null has none.

    A token's hash equals Spark's ``xxhash64(token)``. With *shingle* above 1 the elements are runs of so many tokens,
    in their order, each hashed from its tokens' hashes; a text with fewer tokens is one run of all that it has. Bytes
    that are no UTF-8 count as U+FFFD, which parts words.
    """
    sequence = _sequence(texts)
    return int64_list(_shingles(sequence, shingle).distinct() if shingle > 1 else sequence.distinct())


def token_runs(texts: pa.Array, *lengths: int) -> list[Ragged]:
    """Return for each of *lengths* the hashes of each text's runs of so many tokens, in their order, also repeats.

    They are those of :func:`token_hashes`, for whoever needs no sets.
    """
    sequence = _sequence(texts)
    return [_shingles(sequence, length) if length > 1 else sequence for length in lengths]


def _sequence(texts: pa.Array) -> Ragged:
    """Every token's hash, in the order of the text.

    Words of ASCII go through numpy for the whole batch (a million personas of 24 tokens: 3 s; a regular expression and
    a set for each text: 11 s). Other words go through Unicode's rules by themselves, each once for many texts: a space
    or an ASCII sign parts what they do to its left and right. Only a text with a run without spaces goes through them
    whole, since its runs come after its words; their pairs are hashed by numpy again.
    """
    data, bounds = _bytes(texts)
    data = _plain(data)
    folded, beyond = _FOLDED[data], data >= _BEYOND
    starts, ends = _runs((folded != 0) | beyond, bounds)
    if not beyond.any():
        counts = np.diff(np.searchsorted(starts, bounds))
        return Ragged(_xxhash64(folded, starts, ends - starts).view(np.int64), counts)
    before = np.concatenate([[0], np.cumsum(beyond)])
    ascii_only = before[starts] == before[ends]
    rows = np.searchsorted(bounds, starts, side="right") - 1
    whole = np.zeros(len(texts), dtype=bool)
    whole[rows[np.searchsorted(starts, np.flatnonzero(_MOSTLY_UNSPACED[data]), side="right") - 1]] = True
    raw = data.tobytes()
    at = np.flatnonzero(~ascii_only & ~whole[rows])
    # A mark at the beginning may belong to the sign before it: `=` and U+0338 are one sign, not a word.
    first = starts[at] - (beyond[starts[at]] & (starts[at] > bounds[rows[at]]))
    found = [_hashes_of(raw[start:end]) for start, end in zip(first.tolist(), ends[at].tolist(), strict=True)]
    whole[rows[at][[each is None for each in found]]] = True
    lists = [() if each is None or gone else each for each, gone in zip(found, whole[rows[at]].tolist(), strict=True)]
    others, keep = np.flatnonzero(whole), ascii_only & ~whole[rows]
    words, pairs = _whole([raw[bounds[row] : bounds[row + 1]] for row in others])
    # Where each of these begins; those of one text keep the order that they have here.
    places = [
        starts[keep],
        np.repeat(starts[at], [len(each) for each in lists]),
        *(np.repeat(bounds[others], each.counts) for each in (words, pairs)),
    ]
    hashes = [
        _xxhash64(folded, starts[keep], (ends - starts)[keep]).view(np.int64),
        np.fromiter(itertools.chain(*lists), np.uint64).view(np.int64),
        words.values,
        pairs.values,
    ]
    every = np.concatenate(places)
    order = np.argsort(every, kind="stable")
    return Ragged(np.concatenate(hashes)[order], np.diff(np.searchsorted(every[order], bounds)))


def _hashes_of(word: bytes) -> tuple[int, ...] | None:
    """The hashes of the tokens in *word*, which has characters beyond ASCII; null if any is of a run without spaces."""
    return _hashes_of_short(word) if len(word) <= _SHORT else _hashed(word)


def _hashed(word: bytes) -> tuple[int, ...] | None:
    words, runs = _words_and_runs(word.decode(errors="replace"))
    return None if runs else tuple(map(_hash, words))


# Only short ones: a page that never parts its words mustn't stay in memory.
_hashes_of_short = functools.lru_cache(maxsize=1 << 17)(_hashed)


def _hash(token: str) -> int:
    return xxhash.xxh64_intdigest(token.encode(), SPARK_SEED)


def _whole(texts: list[bytes]) -> tuple[Ragged, Ragged]:
    """The hashes of each text's words, and of its pairs of characters out of runs without spaces."""
    found = [_words_and_runs(text.decode(errors="replace")) for text in texts]
    words = np.fromiter(map(_hash, itertools.chain(*(each for each, _ in found))), np.uint64)
    lengths = np.fromiter(map(len, itertools.chain(*(runs for _, runs in found))), np.int64)
    data = np.frombuffer("".join(itertools.chain(*(runs for _, runs in found))).encode(), dtype=np.uint8)
    begin = np.append(np.flatnonzero((data & 0xC0) != _BEYOND), len(data))  # Each character, and the end.
    span = np.repeat(np.minimum(lengths, 2), lengths)  # Of a lone character itself.
    last = np.cumsum(lengths)[lengths > 1] - 1
    firsts = np.delete(np.arange(len(begin) - 1), last)
    pairs = _xxhash64(data, begin[firsts], begin[firsts + span[firsts]] - begin[firsts])
    numbers = [sum(max(len(run) - 1, 1) for run in runs) for _, runs in found]
    return (
        Ragged(words.view(np.int64), np.array([len(each) for each, _ in found], dtype=np.int64)),
        Ragged(pairs.view(np.int64), np.array(numbers, dtype=np.int64)),
    )


def _plain(data: Bytes) -> Bytes:
    """*data* with blanks for the signs beyond ASCII that only part words."""
    two = np.flatnonzero(data[:-1] == _C2)
    two = two[_SIGNS_C2[data[two + 1]]]
    three = np.flatnonzero((data[:-2] == _E2) & (data[1:-1] == _80))
    three = three[_SIGNS_E280[data[three + 2]]]
    if not len(two) and not len(three):
        return data
    plain: Bytes = data.copy()
    for at in (two, two + 1, three, three + 1, three + 2):
        plain[at] = _BLANK
    return plain


def _bytes(texts: pa.Array) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """The texts' bytes on end, and where each begins and the last ends; a null is empty."""
    texts = texts.cast(pa.large_binary()).fill_null(b"")
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def _runs(
    inside: npt.NDArray[np.bool_], bounds: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the runs of bytes that are *inside* begin and end, none across a text's bounds."""
    first, last = inside.copy(), inside.copy()
    first[1:] &= ~inside[:-1]
    last[:-1] &= ~inside[1:]
    # A text that ends in one, and one that begins with it, adjoin here.
    edges = bounds[(bounds > 0) & (bounds < len(inside))]
    first[edges] = inside[edges]
    last[edges - 1] = inside[edges - 1]
    return np.flatnonzero(first), np.flatnonzero(last) + 1


_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )
)  # fmt: skip

_STRIPES = 32
"""From so many bytes on, XXH64 goes in stripes; a word of that length is left to the library."""


def _xxhash64(data: Bytes, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Hashes:
    """XXH64 (Collet, xxHash specification 0.1.1) of slices of *data*: all slices of one length at once."""
    result = np.empty(len(starts), dtype=np.uint64)
    padded = np.concatenate([data, np.zeros(8, dtype=np.uint8)])
    eights = np.ndarray((len(data) + 1,), dtype="<u8", buffer=padded, strides=(1,))
    fours = np.ndarray((len(data) + 1,), dtype="<u4", buffer=padded, strides=(1,))
    by_length = np.argsort(lengths.astype(np.uint16) if len(data) < 1 << 16 else lengths, kind="stable")
    ends = np.cumsum(np.bincount(lengths))
    for length in np.flatnonzero(np.diff(ends, prepend=0)):
        which = by_length[ends[length - 1] if length else 0 : ends[length]]
        at = starts[which]
        if length >= _STRIPES:
            digests = (xxhash.xxh64_intdigest(data[one : one + length].tobytes(), SPARK_SEED) for one in at)
            result[which] = np.fromiter(digests, np.uint64, len(at))
            continue
        value = np.full(len(at), np.uint64((SPARK_SEED + int(_P5) + int(length)) % 2**64))
        place = 0
        while place + 8 <= length:
            value = _rotated(value ^ (_rotated(eights[at + place] * _P2, 31) * _P1), 27) * _P1 + _P4
            place += 8
        if place + 4 <= length:
            value = _rotated(value ^ (fours[at + place].astype(np.uint64) * _P1), 23) * _P2 + _P3
            place += 4
        for byte in range(place, length):
            value = _rotated(value ^ (padded[at + byte].astype(np.uint64) * _P5), 11) * _P1
        value = (value ^ (value >> np.uint64(33))) * _P2
        value = (value ^ (value >> np.uint64(29))) * _P3
        result[which] = value ^ (value >> np.uint64(32))
    return result


def _rotated(values: Hashes, bits: int) -> Hashes:
    turned: Hashes = (values << np.uint64(bits)) | (values >> np.uint64(64 - bits))
    return turned


def _shingles(sequence: Ragged, length: int) -> Ragged:
    """Every run of *length* elements of a row, hashed; a row with fewer, but some, has one run of them all."""
    counts = np.where(sequence.counts > 0, np.maximum(sequence.counts - length + 1, 1), 0)
    ends = np.cumsum(sequence.counts)
    first = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first += np.repeat(ends - sequence.counts, counts)
    stop = np.repeat(ends, counts)
    values = sequence.values.view(np.uint64)
    run = np.zeros(len(first), dtype=np.uint64)
    for place in range(length):
        inside = first + place < stop
        run[inside] = mixed(run[inside] ^ values[first[inside] + place])
    return Ragged(run.view(np.int64), counts)


@functools.cache
def _word() -> re.Pattern[str]:
    """The pattern of a word: letters, digits, and their marks, at which a plain word class would part Indic words."""
    return re.compile(f"[\\w{_marks()}]+")


@functools.cache
def _written() -> re.Pattern[str]:
    """The pattern of a run without spaces, or of a word with what nobody sees in it, in a text that is not folded."""
    unspaced, inside = _UNSPACED_RUN.pattern.removesuffix("+"), _INVISIBLE.pattern.strip("[]+")
    return re.compile(f"(?P<run>{unspaced}+)|(?:(?!{unspaced})[\\w{_marks()}{inside}])+")


def _marks() -> str:
    """Marks of the first plane only: a single range beyond it makes the class ten times as slow."""
    return "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M")
