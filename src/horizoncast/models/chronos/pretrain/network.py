"""A small Chronos-Bolt that starts as the random walk, and its forward pass written flat for training.

**Anchored start.** Trained from random weights, a small Bolt spends most of its budget on learning to
repeat the last value: a move of 7 sessions is a few hundredths of the standard deviation of its context,
so a slight error of the level is a large error of the forecast. Here the weights are set so that the
untrained network already *is* the random walk with an exponentially weighted volatility, and training
can only learn to be better:

- a large constant in the residual stream makes every RMS norm the identity, up to 1e-4;
- the patch embedding carries the raw values, and by ReLU pairs the weighted sum of absolute changes;
- one head of the first encoder block points at the previous patch, so that the [REG] token takes up the
  last value; two heads whose position bias falls off exponentially give it the volatility at two speeds;
- the decoder points at [REG], and the linear path of the output block adds z_tau sqrt(h) times the
  volatility.

Residual branches that start at zero are Zhang et al. (2019, Fixup); writing the naive forecast itself into
the stock weights of Bolt is our own.

Letters in shapes: B series, T context, S tokens, Q levels, H steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.16,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.75,
    0.8,
    0.84,
    0.9,
    0.95,
    0.975,
    0.99,
)
CONTEXT, STEPS, PATCH = 512, 96, 24
WIDTH, HEADS, HEAD_WIDTH, FEED = 192, 8, 24, 768
ENCODERS, DECODERS, BUCKETS = 4, 2, 96
CONSTANT = 4096.0
# places in the residual stream
ONE, LAST, FAST, SLOW, PATCH_FAST, PATCH_SLOW, FLAG, RAW = 0, 1, 2, 3, 4, 5, 6, 8
FREE = RAW + PATCH
DECAYS = (0.94, 0.985)


def build(seed: int = 0, *, anchored: bool = True) -> Any:
    """The model with its starting weights, a ``ChronosBoltModelForForecasting``."""
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    config = T5Config(
        d_model=WIDTH,
        d_kv=HEAD_WIDTH,
        d_ff=FEED,
        num_layers=ENCODERS,
        num_decoder_layers=DECODERS,
        num_heads=HEADS,
        relative_attention_num_buckets=BUCKETS,
        relative_attention_max_distance=128,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        is_encoder_decoder=True,
        vocab_size=2,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        initializer_factor=1.0,
        tie_word_embeddings=False,
        use_cache=True,
    )
    config.architectures = ["ChronosBoltModelForForecasting"]
    config.chronos_config = {
        "context_length": CONTEXT,
        "prediction_length": STEPS,
        "input_patch_size": PATCH,
        "input_patch_stride": PATCH,
        "quantiles": list(LEVELS),
        "use_reg_token": True,
    }
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    torch.manual_seed(seed)
    model = ChronosBoltModelForForecasting(config)
    if anchored:
        with torch.no_grad():
            anchor(model)
    return model


def anchor(model: Any) -> None:
    """Set the weights to the random walk with an exponentially weighted volatility, in place."""
    _norms(model)
    _tokens(model)
    _embedding(model.input_patch_embedding)
    for index, block in enumerate(model.encoder.block):
        _quiet(block.layer[0].SelfAttention, block.layer[1].DenseReluDense)
        if index == 0:
            _gather(block.layer[0].SelfAttention)
    for index, block in enumerate(model.decoder.block):
        _quiet(block.layer[0].SelfAttention, block.layer[2].DenseReluDense)
        block.layer[1].EncDecAttention.o.weight.zero_()
        if index == 0:
            _fetch(block.layer[1].EncDecAttention)
    _output(model.output_patch_embedding)


def _norms(model: Any) -> None:
    """With the constant in the stream, x / rms(x) * weight is x, and 1 at the constant's place."""
    gain = CONSTANT / math.sqrt(WIDTH)
    norms = [model.encoder.final_layer_norm, model.decoder.final_layer_norm]
    norms += [
        layer.layer_norm for block in [*model.encoder.block, *model.decoder.block] for layer in block.layer
    ]
    for norm in norms:
        norm.weight.fill_(gain)
        norm.weight[ONE] = 1 / math.sqrt(WIDTH)


def _tokens(model: Any) -> None:
    model.shared.weight.normal_(0, 0.3)
    model.shared.weight[:, :FREE] = 0.0
    model.shared.weight[:, ONE] = CONSTANT
    model.shared.weight[1, FLAG] = 1.0


def _embedding(block: Any) -> None:
    """Raw values, weighted absolute changes by ReLU pairs, and random features."""
    import torch

    hidden, out, linear = block.hidden_layer, block.output_layer, block.residual_layer
    hidden.weight.normal_(0, 1.4 / math.sqrt(PATCH))
    hidden.weight[:, PATCH:] *= 0.3
    hidden.bias.uniform_(-0.5, 0.5)
    out.weight.normal_(0, 1 / math.sqrt(FEED))
    out.bias.zero_()
    linear.weight.normal_(0, 0.3 / math.sqrt(PATCH))
    linear.bias.zero_()
    out.weight[:FREE] = 0.0
    linear.weight[:FREE] = 0.0
    linear.bias[ONE] = CONSTANT
    linear.weight[RAW : RAW + PATCH, :PATCH] = torch.eye(PATCH)
    pairs = 2 * (PATCH - 1)
    hidden.weight[:pairs] = 0.0
    out.weight[:, :pairs] = 0.0
    for j in range(1, PATCH):
        for unit, sign in ((2 * (j - 1), 1.0), (2 * (j - 1) + 1, -1.0)):
            hidden.weight[unit, j], hidden.weight[unit, j - 1] = sign, -sign
            # a missing neighbour switches the unit off: masks are 1 where observed
            hidden.weight[unit, PATCH + j] = hidden.weight[unit, PATCH + j - 1] = 16.0
            hidden.bias[unit] = -32.0
            for place, decay in ((PATCH_FAST, DECAYS[0]), (PATCH_SLOW, DECAYS[1])):
                out.weight[place, unit] = decay ** (PATCH - 1 - j) * (1 - decay) / (1 - decay ** (PATCH - 1))


def _quiet(attention: Any, feed: Any) -> None:
    """Branches that add nothing yet: queries, keys, values at random, outputs zero."""
    for name, scale in (
        ("q", 1 / math.sqrt(WIDTH * HEAD_WIDTH)),
        ("k", 1 / math.sqrt(WIDTH)),
        ("v", 1 / math.sqrt(WIDTH)),
    ):
        getattr(attention, name).weight.normal_(0, scale)
    attention.o.weight.zero_()
    feed.wi.weight.normal_(0, 1 / math.sqrt(WIDTH))
    feed.wo.weight.zero_()


def _gather(attention: Any) -> None:
    """First encoder block: [REG] takes up the last value and the volatilities."""
    import torch

    bias = attention.relative_attention_bias.weight
    bias.zero_()
    half = BUCKETS // 2
    distance = torch.arange(half, dtype=bias.dtype)
    bias[:, :3] = -20.0
    bias[1, 0] = 0.0
    for head, decay in ((1, DECAYS[0]), (2, DECAYS[1])):
        bias[1:half, head] = math.log(decay) * PATCH * (distance[1:] - 1)
    for head, offset in ((3, 2), (4, 7)):
        bias[offset, head] = 3.0
    attention.q.weight[: 3 * HEAD_WIDTH] = 0.0
    value, out = attention.v.weight, attention.o.weight
    value[:HEAD_WIDTH] = 0.0
    value[:HEAD_WIDTH, RAW : RAW + PATCH] = torch.eye(PATCH)
    out[LAST, HEAD_WIDTH - 1] = 1.0
    for head, source, place in ((1, PATCH_FAST, FAST), (2, PATCH_SLOW, SLOW)):
        value[head * HEAD_WIDTH] = 0.0
        value[head * HEAD_WIDTH, source] = 1.0
        out[place, head * HEAD_WIDTH] = 1.0


def _fetch(attention: Any) -> None:
    """First decoder block: the one token of the decoder reads [REG]."""
    attention.q.weight[:HEAD_WIDTH] = 0.0
    attention.k.weight[:HEAD_WIDTH] = 0.0
    attention.q.weight[0, ONE] = 5.0
    attention.k.weight[0, FLAG] = 4.0
    attention.v.weight[:3] = 0.0
    for row, place in enumerate((LAST, FAST, SLOW)):
        attention.v.weight[row, place] = 1.0
        attention.o.weight[place, row] = 1.0


def _output(block: Any) -> None:
    """Last value plus z_tau sqrt(h) sigma; sigma is the mean absolute change times sqrt(pi/2)."""
    import torch

    block.hidden_layer.weight.normal_(0, 1 / math.sqrt(WIDTH))
    block.hidden_layer.bias.zero_()
    block.output_layer.weight.zero_()
    block.output_layer.bias.zero_()
    linear = block.residual_layer
    linear.weight.zero_()
    linear.bias.zero_()
    z = torch.special.ndtri(torch.tensor(LEVELS))
    width = z.view(-1, 1) * torch.arange(1, STEPS + 1).sqrt() * math.sqrt(math.pi / 2)
    linear.weight[:, LAST] = 1.0
    linear.weight[:, FAST] = linear.weight[:, SLOW] = 0.5 * width.reshape(-1)


def forward(model: Any, context: Tensor, *, half: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Quantiles in the normalised space with location and scale of the context.

    The same function as the library's forward; with `half` the wide products of all but the anchored path
    are taken in bfloat16.

    Parameters
    ----------
    context
        Shape (B, T), T a multiple of the patch; NaN is missing.

    Returns
    -------
    quantiles, location, scale
        Shapes (B, Q, H), (B, 1), (B, 1).
    """
    import torch
    from torch.nn.functional import linear

    mask = ~torch.isnan(context)
    count = mask.sum(-1, keepdim=True).clamp_min(1)
    known = torch.where(mask, context, 0.0)
    location = known.sum(-1, keepdim=True) / count
    scale = (torch.where(mask, context - location, 0.0).square().sum(-1, keepdim=True) / count).sqrt()
    scale = torch.where(scale == 0, 1e-5, scale)
    size = len(context)
    patches = torch.where(mask, (known - location) / scale, 0.0).view(size, -1, PATCH)
    seen = mask.view(size, -1, PATCH).float()
    there = torch.cat([seen.sum(-1) > 0, torch.ones(size, 1, dtype=torch.bool, device=context.device)], -1)
    x = _embed(model.input_patch_embedding, torch.cat([patches, seen], -1), half)
    x = torch.cat([x, model.shared.weight[1].view(1, 1, -1).expand(size, 1, -1)], 1)
    away = torch.where(there, 0.0, -1e9).view(size, 1, 1, -1)
    bias = model.encoder.block[0].layer[0].SelfAttention.compute_bias(x.shape[1], x.shape[1]) + away
    for index, block in enumerate(model.encoder.block):
        low = half and index > 0
        normed = _norm(block.layer[0].layer_norm, x)
        x = x + _attend(block.layer[0].SelfAttention, normed, normed, bias, low)
        x = x + _feed(block.layer[1].DenseReluDense, _norm(block.layer[1].layer_norm, x), half)
    x = _norm(model.encoder.final_layer_norm, x)
    y = model.shared.weight[0].view(1, 1, -1).expand(size, 1, -1)
    for index, block in enumerate(model.decoder.block):
        own = block.layer[0].SelfAttention
        y = y + linear(linear(_norm(block.layer[0].layer_norm, y), own.v.weight), own.o.weight)
        y = y + _attend(
            block.layer[1].EncDecAttention, _norm(block.layer[1].layer_norm, y), x, away, half and index > 0
        )
        y = y + _feed(block.layer[2].DenseReluDense, _norm(block.layer[2].layer_norm, y), False)
    out = model.output_patch_embedding(_norm(model.decoder.final_layer_norm, y))
    return out.view(size, len(LEVELS), STEPS), location, scale


def _norm(norm: Any, x: Tensor) -> Tensor:
    import torch

    found: Tensor = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon) * norm.weight
    return found


def _linear(x: Tensor, weight: Tensor, half: bool) -> Tensor:
    import torch
    from torch.nn.functional import linear

    return linear(x.to(torch.bfloat16), weight.to(torch.bfloat16)) if half else linear(x, weight)


def _attend(attention: Any, queries: Tensor, keys: Tensor, bias: Tensor, half: bool) -> Tensor:
    from torch.nn.functional import scaled_dot_product_attention

    size, count, _ = queries.shape

    def split(x: Tensor) -> Tensor:
        return x.view(size, -1, HEADS, HEAD_WIDTH).transpose(1, 2)

    q, k, v = (
        split(_linear(x, getattr(attention, n).weight, half))
        for x, n in ((queries, "q"), (keys, "k"), (keys, "v"))
    )
    mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=1.0)
    return _linear(mixed.transpose(1, 2).reshape(size, count, -1), attention.o.weight, half).float()


def _embed(block: Any, x: Tensor, half: bool) -> Tensor:
    """Patches to tokens; differences of neighbours and raw values never leave float32."""
    features = _linear(block.hidden_layer(x).relu(), block.output_layer.weight, half).float()
    found: Tensor = features + block.output_layer.bias + block.residual_layer(x)
    return found


def _feed(feed: Any, x: Tensor, half: bool) -> Tensor:
    return _linear(_linear(x, feed.wi.weight, half).relu(), feed.wo.weight, half).float()
