"""A small GPT that says how far its attention goes: the largest logit before each softmax.

Pre-normalized blocks, rotary positions (Su et al. 2021), a head that is not tied to the embedding,
and no z-loss: what makes small models show the instabilities of large ones (Wortsman et al. 2023).
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
    164160
    """

    vocabulary: int = 2048
    """Token ids; 0 ends a document."""
    width: int = 128
    layers: int = 4
    heads: int = 4
    length: int = 128
    """Tokens of a sequence."""
    qk_norm: bool = False
    """Normalize queries and keys: keeps attention logits small (Dehghani et al. 2023)."""

    @property
    def parameters(self) -> int:
        """Weights in all: the embedding, the head, and twelve squares and some gains a layer."""
        gains = 2 + 2 * self.qk_norm / self.heads
        a_layer = 12 * self.width**2 + gains * self.width
        return int(2 * self.vocabulary * self.width + self.layers * a_layer + self.width)


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
        self.largest = torch.zeros(())
        angles = torch.outer(
            torch.arange(shape.length), 10_000.0 ** -(torch.arange(0, each, 2) / each)
        )
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        future = torch.ones(shape.length, shape.length, dtype=torch.bool).triu(1)
        self.register_buffer("future", future, persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        """Queries or keys, turned by their positions."""
        length = x.shape[-2]
        cos, sin = self.cos[:length], self.sin[:length]
        one, two = x.chunk(2, dim=-1)
        return torch.cat([one * cos - two * sin, one * sin + two * cos], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, width) to the same."""
        count, length, width = x.shape
        parts = self.into(x).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
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
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
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
        return self.head(self.last_norm(x))

    def losses(self, sequences: Tensor) -> Tensor:
        """(n, length): the loss of each token of (n, length + 1) ids but the first, in nats."""
        logits = self(sequences[:, :-1])
        wanted = sequences[:, 1:]
        return functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), reduction="none"
        ).view(wanted.shape)

    @property
    def largest_logit(self) -> float:
        """The largest attention logit of the last call, over all layers."""
        return max(float(block.attention.largest) for block in self.blocks)
