"""A small GPT that says how far its attention goes: the largest logit before each softmax.

Pre-normalized blocks and no z-loss, as small models that show the instabilities of large ones have
(Wortsman et al. 2023). Three things let it copy, which it must before it says anything about
repeats, and which takes plain models of this size far longer to learn than a probe lasts: keys are
mixed with the one before (smeared keys, Olsson et al. 2022), only half of a head turns with the
position (Su et al. 2021), and the head is the embedding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """The size of a model.

    >>> Shape(vocabulary=512, width=64, layers=2).parameters
    131396
    """

    vocabulary: int = 1024
    """Token ids; 0 ends a document."""
    width: int = 96
    layers: int = 3
    heads: int = 2
    """Of a width that four divides."""
    length: int = 128
    """Tokens of a sequence."""
    qk_norm: bool = False
    """Normalize queries and keys: keeps attention logits small (Dehghani et al. 2023)."""

    @property
    def parameters(self) -> int:
        """Weights in all: the embedding, and twelve squares and some gains and shares a layer."""
        gains = 2 + 2 * self.qk_norm / self.heads
        a_layer = 12 * self.width**2 + gains * self.width + self.heads
        return int(self.vocabulary * self.width + self.layers * a_layer + self.width)


class Attention(nn.Module):
    """Causal attention; `largest` is the largest logit of the last call."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.into = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        each = shape.width // shape.heads
        self.norms = nn.ModuleList(
            [nn.RMSNorm(each), nn.RMSNorm(each)]
            if shape.qk_norm
            else [nn.Identity(), nn.Identity()]
        )
        self.smear = nn.Parameter(torch.zeros(self.heads, 1, 1))
        self.largest = torch.zeros(())
        half = each // 2
        angles = torch.outer(
            torch.arange(shape.length), 10_000.0 ** -(torch.arange(0, half, 2) / half)
        )
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        future = torch.ones(shape.length, shape.length, dtype=torch.bool).triu(1)
        self.register_buffer("future", future, persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        """Queries or keys, whose first half is turned by their positions."""
        length = x.shape[-2]
        cos, sin = self.cos[:length], self.sin[:length]
        one, two, still, other = x.chunk(4, dim=-1)
        turned = [one * cos - two * sin, one * sin + two * cos]
        return torch.cat([*turned, still, other], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, width) to the same."""
        count, length, width = x.shape
        parts = self.into(x).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        before = functional.pad(key, (0, 0, 1, 0))[:, :, :-1]
        key = torch.lerp(key, before, self.smear.sigmoid().to(key.dtype))
        query, key = self.turned(self.norms[0](query)), self.turned(self.norms[1](key))
        logits = query @ key.transpose(-2, -1) / math.sqrt(width // self.heads)
        logits = logits.masked_fill(self.future[:length, :length], -torch.inf)
        self.largest = logits.detach().amax()
        mixed = logits.softmax(dim=-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(count, length, width))


class Block(nn.Module):
    """Attention, then a layer of four times the width; both added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.before_attention = nn.RMSNorm(shape.width)
        self.attention = Attention(shape)
        self.before_layer = nn.RMSNorm(shape.width)
        self.wide = nn.Linear(shape.width, 4 * shape.width, bias=False)
        self.narrow = nn.Linear(4 * shape.width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, width) to the same."""
        x = x + self.attention(self.before_attention(x))
        return x + self.narrow(functional.gelu(self.wide(self.before_layer(x))))


class Model(nn.Module):
    """A GPT whose weights follow from `shape` and `seed` alone."""

    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.last_norm = nn.RMSNorm(shape.width)
        chance = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                within = name.endswith(("out.weight", "narrow.weight"))
                deviation = 0.02 / math.sqrt(2 * shape.layers) if within else 0.02
                nn.init.normal_(weight, std=deviation, generator=chance)

    def forward(self, ids: Tensor) -> Tensor:
        """(n, length) ids to (n, length, vocabulary) logits."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.last_norm(x), self.embedding.weight)

    def losses(self, sequences: Tensor) -> Tensor:
        """(n, length): the loss of each token of (n, length + 1) ids but the first, in nats."""
        sequences = sequences.to(self.embedding.weight.device)
        logits = self(sequences[:, :-1])
        wanted = sequences[:, 1:]
        return functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), reduction="none"
        ).view(wanted.shape)

    @property
    def largest_logit(self) -> float:
        """The largest attention logit of the last call, over all layers."""
        return max(float(block.attention.largest) for block in self.blocks)
