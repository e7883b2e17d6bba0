"""The vocabulary: a genuine CLIP tokenizer (byte-level BPE) that has a whole token for each word of the captions.

The merges are learnt here as BPE always learns them, the commonest neighbours first, until every known word is one
token. All 256 bytes stay in the vocabulary, so an unknown word becomes several tokens and never an error.
"""

from collections import Counter
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from job.demo.data import TEMPLATES
from job.real.digits import NAMES

LENGTH = 32   # tokens of a prompt: 10 for the longest template, the rest for words that fall into bytes
END = "</w>"  # CLIP's mark of a word's last letter
START_TOKEN, STOP_TOKEN = "<|startoftext|>", "<|endoftext|>"


def known_words() -> list[str]:
    """Every word that a caption can hold, sorted."""
    return sorted({word for template in TEMPLATES for word in template.format(name=" ".join(NAMES)).split()})


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Pairs to merge, in order, after which every word is one token. Ties go to the alphabet: always the same list."""
    spelt = [[*word[:-1], word[-1] + END] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in spelt for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelt = [_merged(word, best) for word in spelt]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def build_tokenizer() -> CLIPTokenizer:
    """The tokenizer of both models; the two special tokens come last, as in CLIP."""
    letters = sorted(ByteLevel.alphabet())
    merges = learn_merges(known_words())
    tokens = [*letters, *(letter + END for letter in letters), *dict.fromkeys(left + right for left, right in merges)]
    vocabulary = {token: number for number, token in enumerate([*tokens, START_TOKEN, STOP_TOKEN])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)
