"""Small Chronos checkpoints that tests build themselves: random weights in the stock architectures."""

from pathlib import Path

from horizoncast.horizon import DECILES, LEVELS
from horizoncast.models.chronos.folder import CONFIG, WEIGHTS, ModelManifest, write_manifest

TEST_NAME = "tests/bolt-tiny"


def bolt_network(
    *,
    context: int = 64,
    steps: int = 16,
    quantiles: tuple[float, ...] = DECILES,
    d_model: int = 16,
    layers: int = 1,
    patch: int = 8,
    seed: int = 0,
):
    """A ChronosBoltModelForForecasting with random weights, in evaluation mode."""
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    config = T5Config(
        d_model=d_model, d_kv=8, d_ff=2 * d_model, num_layers=layers, num_decoder_layers=layers, num_heads=2,
        dropout_rate=0.1, feed_forward_proj="relu", vocab_size=2, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0, initializer_factor=0.05, tie_word_embeddings=False,
    )  # fmt: skip
    config.architectures = ["ChronosBoltModelForForecasting"]
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    config.chronos_config = {
        "context_length": context, "prediction_length": steps, "input_patch_size": patch,
        "input_patch_stride": patch, "quantiles": list(quantiles), "use_reg_token": True,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ChronosBoltModelForForecasting(config).eval()


def chronos2_network(
    *,
    context: int = 64,
    patches: int = 2,
    patch: int = 8,
    quantiles: tuple[float, ...] = LEVELS,
    seed: int = 0,
):
    """A Chronos2Model with random weights, in evaluation mode; it answers patches x patch steps."""
    import torch
    from chronos.chronos2.config import Chronos2CoreConfig
    from chronos.chronos2.model import Chronos2Model

    config = Chronos2CoreConfig(
        d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.1, initializer_factor=0.05
    )
    config.architectures = ["Chronos2Model"]
    config.chronos_pipeline_class = "Chronos2Pipeline"
    config.chronos_config = {
        "context_length": context, "output_patch_size": patch, "input_patch_size": patch,
        "input_patch_stride": patch, "quantiles": list(quantiles), "use_reg_token": True,
        "use_arcsinh": True, "max_output_patches": patches, "time_encoding_scale": context,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Chronos2Model(config).eval()


def sharpen(network, *, spread: float = 0.5):
    """Make a random Bolt answer like a forecaster: levels in order around its own median, wider with time.

    The bias of the output layer becomes the normal quantiles times ``spread sqrt(h / H)``; the random
    part stays, so that the answer still depends on every input.
    """
    import torch
    from scipy.special import ndtri

    levels = torch.tensor(ndtri(network.chronos_config.quantiles), dtype=torch.float32)
    steps = network.chronos_config.prediction_length
    growth = torch.sqrt(torch.arange(1, steps + 1) / steps)
    with torch.no_grad():
        head = network.output_patch_embedding
        for layer in (head.output_layer, head.residual_layer):
            shared = layer.weight.view(len(levels), steps, -1)[:1]
            layer.weight.copy_((0.2 * shared).expand(len(levels), -1, -1).reshape(layer.weight.shape))
        head.output_layer.bias.copy_(spread * torch.outer(levels, growth).flatten())
        head.residual_layer.bias.zero_()
    return network


def save_network(
    network, folder: Path, *, name: str = TEST_NAME, trained_until: str | None = None, revision: str = "1"
) -> ModelManifest:
    """Write a network as a model folder of ours; returns its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    for stray in folder.iterdir():
        if stray.name not in (CONFIG, WEIGHTS):
            stray.unlink()
    return write_manifest(
        folder,
        name=name,
        revision=revision,
        licence="apache-2.0",
        trained_until=trained_until,
        created_by="tests",
    )


def make_bolt(
    folder: Path, *, trained_until: str | None = None, name: str = TEST_NAME, **shape
) -> ModelManifest:
    """A model folder with a small random Bolt."""
    return save_network(sharpen(bolt_network(**shape)), folder, name=name, trained_until=trained_until)


def make_chronos2(
    folder: Path, *, trained_until: str | None = None, name: str = "tests/chronos2-tiny", **shape
) -> ModelManifest:
    """A model folder with a small random Chronos-2."""
    return save_network(chronos2_network(**shape), folder, name=name, trained_until=trained_until)


def repeater(*, period: int = 7, patch: int = 8, context: int = 64, steps: int = 16, spread: float = 0.95):
    """A Bolt whose weights are set by hand to repeat the last `period` values, with honest intervals.

    A large constant in the residual stream makes each RMS norm all but the identity. The embedding
    carries a patch's values; the encoder's position bias marks the patch before the [REG] token; the
    decoder attends to the mark and hands the values to the output layer, which copies the right one
    to each step and adds normal quantiles times ``spread sqrt(1 + floor((h - 1) / period))``.
    """
    import torch
    from scipy.special import ndtri

    large, mark, width = 256.0, 8.0, 16
    network = bolt_network(context=context, steps=steps, patch=patch, d_model=width)
    constant, marker, flag = patch, patch + 1, patch + 2
    levels = torch.tensor(ndtri(network.chronos_config.quantiles), dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(large / width**0.5 if "layer_norm" in name else 0.0)
        network.shared.weight[:, constant] = large
        network.shared.weight[1, marker] = mark
        network.input_patch_embedding.residual_layer.weight[:patch, :patch] = torch.eye(patch)
        network.input_patch_embedding.residual_layer.bias[constant] = large
        look = network.encoder.block[0].layer[0].SelfAttention
        look.relative_attention_bias.weight[look.relative_attention_num_buckets // 2 + 1, 0] = 60.0
        look.v.weight[0, marker], look.o.weight[flag, 0] = 1.0, 1.0
        read = network.decoder.block[0].layer[1].EncDecAttention
        read.q.weight[0, constant] = 20.0 / large
        read.k.weight[0, flag], read.k.weight[0, marker] = 1.0, -1.0
        read.v.weight[:patch, :patch], read.o.weight[:patch, :patch] = torch.eye(patch), torch.eye(patch)
        out = network.output_patch_embedding.residual_layer
        for step in range(steps):
            out.weight.view(len(levels), steps, width)[:, step, patch - period + step % period] = 1.0
            size = spread * (1 + step // period) ** 0.5
            out.bias.view(len(levels), steps)[:, step] = size * levels
    return network
