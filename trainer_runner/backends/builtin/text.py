"""Captions to vectors: a small learned encoder over the words of the captions, with bytes for every word it has not seen."""

import random
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

MAX_TOKENS = 64
MAX_WORDS = 8192
_PADDING, _BEGIN, _FIRST_BYTE = 0, 1, 2
_FIRST_WORD = _FIRST_BYTE + 256
_LETTERS = string.ascii_lowercase + string.digits + "!?äößéñ数字"
_WORD = re.compile(r"\w+|[^\w\s]")


def words_of(caption: str) -> "list[str]":
    return _WORD.findall(caption.lower())


class Vocabulary:
    """The words that have an embedding of their own; any other word is spelled in UTF-8 bytes, so that every caption can be read."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: _FIRST_WORD + index for index, word in enumerate(self.words)}

    @classmethod
    def of(cls, captions: Iterable[str]) -> "Vocabulary":
        """The words of *captions*, the most frequent first; `MAX_WORDS` at most."""
        counts = Counter(word for caption in captions for word in words_of(caption))
        return cls([word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_WORDS]])

    def __len__(self) -> int:
        return _FIRST_WORD + len(self.words)

    def encode(self, caption: str, noise: "random.Random | None" = None) -> "list[int]":
        """Token ids, at least one and at most `MAX_TOKENS`. The empty caption is the unconditional one.

        With *noise*, words of random letters are put in between: so a model learns that words it does not know say nothing.
        """
        words = words_of(caption)
        for _ in range(noise.randint(1, 3) if noise else 0):
            assert noise is not None
            words.insert(noise.randint(0, len(words)), "".join(noise.choices(_LETTERS, k=noise.randint(2, 9))))
        tokens = [_BEGIN]
        for word in words:
            known = self._ids.get(word)
            tokens.extend([known] if known is not None else [_FIRST_BYTE + byte for byte in word.encode("utf-8", "surrogatepass")])
        return tokens[:MAX_TOKENS]

    def batch(self, captions: Sequence[str], *, noise_seed: "str | None" = None) -> Tensor:
        """(captions, longest) int32, padded; with *noise_seed*, each with noise that is the same every time."""
        noise = None if noise_seed is None else random.Random(noise_seed)  # noqa: S311 - for training data # nosec B311
        rows = [self.encode(caption, noise) for caption in captions]
        table = torch.full((len(rows), max(map(len, rows), default=1)), _PADDING, dtype=torch.int32)
        for index, row in enumerate(rows):
            table[index, : len(row)] = torch.tensor(row, dtype=torch.int32)
        return table


class CaptionEncoder(nn.Module):
    """Tokens to one vector per caption: embeddings with their places, pooled by learned attention."""

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, width, padding_idx=_PADDING)
        self.places = nn.Parameter(torch.zeros(MAX_TOKENS, width))
        self.mix = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.weigh = nn.Linear(width, 1)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) token ids to (batch, width)."""
        embedded: Tensor = self.tokens(tokens) + self.places[: tokens.shape[1]]
        mixed: Tensor = embedded + self.mix(embedded)
        weights: Tensor = self.weigh(mixed).squeeze(-1).masked_fill(tokens == _PADDING, -1e9).softmax(dim=1)
        pooled: Tensor = self.out((mixed * weights.unsqueeze(-1)).sum(dim=1))
        return pooled
