"""Pretraining: the anchored start, the flat forward pass, the synthetic series, the loop and its export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from horizoncast.data.ecb import ecb_pair  # noqa: E402
from horizoncast.errors import ConfigError, StoreError  # noqa: E402
from horizoncast.models.chronos.folder import verify  # noqa: E402
from horizoncast.models.chronos.places import SHIPPED, SHIPPED_NAME  # noqa: E402
from horizoncast.models.chronos.pretrain.export import put_scores, save_model  # noqa: E402
from horizoncast.models.chronos.pretrain.network import LEVELS, STEPS, build, forward  # noqa: E402
from horizoncast.models.chronos.pretrain.objective import losses, walk_quantiles  # noqa: E402
from horizoncast.models.chronos.pretrain.synthetic import Synthesiser  # noqa: E402
from horizoncast.models.chronos.pretrain.training import (  # noqa: E402
    FIRST,
    Recipe,
    Stage,
    Training,
    batch_of,
    plain_recipe,
    pretrain,
)

LENGTHS = ((48, 0.5), (96, 0.5))
SMALL = Recipe(
    batch=8,
    warmup=2,
    half=False,
    stages=tuple(Stage(until=end, pull=1.0, lengths=LENGTHS, kinds=FIRST.kinds) for end in (2, 4)),
)


@pytest.fixture(scope="module")
def start():
    return build().eval()


def _walks(count: int, length: int) -> torch.Tensor:
    return Synthesiser("cpu", 11).batch(count, length, (("prices", 1.0),))


def test_the_untrained_network_is_the_random_walk(start) -> None:
    context = _walks(16, 192)
    with torch.no_grad():
        found, _, _ = forward(start, context)
    expected = walk_quantiles(context)
    spread = expected[:, -1] - expected[:, 0]
    assert ((found - expected).abs() / spread.unsqueeze(1)).max() < 1e-3


def test_an_unanchored_network_is_not() -> None:
    context = _walks(16, 192)
    with torch.no_grad():
        found, _, _ = forward(build(anchored=False).eval(), context)
    assert (found - walk_quantiles(context)).abs().max() > 0.1


def test_missing_values_do_not_widen_the_start(start) -> None:
    context = _walks(16, 192)
    holed = context.clone()
    holed[:, 60:70] = torch.nan
    with torch.no_grad():
        whole, _, scale = forward(start, context)
        part, _, other = forward(start, holed)
    width = ((whole[:, -1] - whole[:, 0]) * scale)[:, 0]
    assert (((part[:, -1] - part[:, 0]) * other)[:, 0] / width - 1).abs().max() < 0.15


@pytest.mark.parametrize("gaps", [False, True])
def test_the_flat_forward_is_the_librarys(start, gaps: bool) -> None:
    source = Synthesiser("cpu", 5)
    context = source.batch(6, 240, FIRST.kinds)
    if gaps:
        context = source.with_gaps(context)
        context[:, -24:] = torch.nan_to_num(context[:, -24:])
    torch.manual_seed(1)
    model = build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
        model.eval()
        out, location, scale = forward(model, context)
        theirs = model(context=context).quantile_preds
    ours = out * scale.unsqueeze(1) + location.unsqueeze(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_half_precision_keeps_the_anchored_path(start) -> None:
    context = _walks(16, 192)
    with torch.no_grad():
        exact, _, _ = forward(start, context)
        half, _, _ = forward(start, context, half=True)
    middle = LEVELS.index(0.5)
    assert (exact - half)[:, middle].abs().max() < 1e-3  # the last value stays in float32
    width = (exact[:, -1] - exact[:, 0]).unsqueeze(1)
    assert ((exact - half) / width).abs().max() < 0.005


def test_the_untrained_network_forecasts_prices_as_the_walk_does(start) -> None:
    """Real rates: pinball loss within 2 % of the walk with the same changes' exponential volatility."""
    _, rates = ecb_pair("USD", "CHF")
    logs = np.log(rates)
    at = range(len(logs) - 2000, len(logs) - 30, 25)
    context = torch.tensor(np.stack([logs[i - 180 : i] for i in at]) * 100.0, dtype=torch.float32)
    context = torch.cat([torch.full((len(context), 12), torch.nan), context], 1)
    truth = torch.tensor(np.stack([logs[i : i + 30] for i in at]) * 100.0, dtype=torch.float32)
    with torch.no_grad():
        out, location, scale = forward(start, context)
        found = out[:, :, :30] * scale.unsqueeze(1) + location.unsqueeze(1)
    change = np.abs(np.diff(np.stack([logs[i - 180 : i] for i in at]) * 100.0, axis=1))
    weight = 0.96 ** np.arange(change.shape[1])[::-1]
    sigma = torch.tensor((change * weight).sum(1) / weight.sum() * np.sqrt(np.pi / 2), dtype=torch.float32)
    z = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(LEVELS)).view(1, -1, 1)
    walk = context[:, -1].view(-1, 1, 1) + sigma.view(-1, 1, 1) * z * torch.arange(1, 31).sqrt()
    assert _pinball(found, truth) < 1.02 * _pinball(walk, truth)


def _pinball(quantiles: torch.Tensor, truth: torch.Tensor) -> float:
    levels = torch.tensor(LEVELS).view(1, -1, 1)
    error = truth.unsqueeze(1) - quantiles
    return float(torch.maximum(levels * error, (levels - 1) * error).mean())


@pytest.mark.parametrize("kind", [kind for kind, _ in FIRST.kinds])
def test_every_kind_of_series_is_finite_varied_and_reproducible(kind: str) -> None:
    first = Synthesiser("cpu", 3).batch(32, 200, ((kind, 1.0),))
    again = Synthesiser("cpu", 3).batch(32, 200, ((kind, 1.0),))
    other = Synthesiser("cpu", 4).batch(32, 200, ((kind, 1.0),))
    assert first.shape == (32, 200)
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    varied = first.std(-1) > 0.5
    assert varied.float().mean() > 0.8


def test_walks_have_uncorrelated_changes_and_seasons_repeat() -> None:
    source = Synthesiser("cpu", 0)
    changes = torch.diff(source.batch(200, 400, (("prices", 1.0),)))
    changes = changes - changes.mean(-1, keepdim=True)
    echo = (changes[:, 1:] * changes[:, :-1]).sum(-1) / changes.square().sum(-1)
    assert echo.median().abs() < 0.02
    period = torch.full((50, 1), 12.0)
    cycle = source.cycle(period, 240)
    torch.testing.assert_close(cycle[:, 12:], cycle[:, :-12], rtol=0, atol=1e-3)


def test_the_distance_is_zero_at_the_start_and_grows_when_the_network_leaves_the_walk(start) -> None:
    context = _walks(16, 192)
    with torch.no_grad():
        _, near = losses(start, context[:, :96], context[:, 96:], walks=16)
        moved = build().eval()
        moved.output_patch_embedding.residual_layer.bias.add_(1.0)
        _, far = losses(moved, context[:, :96], context[:, 96:], walks=16)
    assert near < 1e-5
    assert far > 0.05


def test_training_lowers_the_loss_on_seasons() -> None:
    seasons = Stage(until=40, pull=0.0, lengths=((96, 1.0),), kinds=(("structured", 1.0),))
    recipe = replace(SMALL, batch=32, warmup=20, stages=(seasons,))
    held_back = replace(seasons, until=10_001)
    context, target = batch_of(replace(recipe, batch=128, stages=(held_back,)), 10_000, "cpu")
    training = Training(recipe, Path("never-written"))
    with torch.no_grad():
        before, _ = losses(training.model, context, target, walks=1)
    for _ in training.run():
        pass
    with torch.no_grad():
        after, _ = losses(training.model, context, target, walks=1)
    assert after < 0.97 * before


def test_a_resumed_training_gives_the_same_weights(tmp_path: Path) -> None:
    whole = pretrain(SMALL, tmp_path / "whole", every=100)
    first = Training(SMALL, tmp_path / "parts")
    list(first.run(until=2))
    first.save()
    parts = pretrain(SMALL, tmp_path / "parts", every=100)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    training = Training(SMALL, tmp_path)
    list(training.run(until=1))
    training.save()
    with pytest.raises(StoreError, match="another recipe"):
        Training(replace(SMALL, clip=2.0), tmp_path)


def test_the_rate_rises_stays_and_falls_along_each_cosine() -> None:
    recipe = Recipe()
    rates = [recipe.learning_rate(step) for step in (0, 99, 2_499, 4_749, 6_499, 6_500, 10_749)]
    assert rates[0] < rates[1] == rates[2] == 1e-3
    assert rates[2] > rates[3] > rates[4] < rates[5] == 7e-4
    assert rates[6] < 0.02 * rates[5]


def test_a_shortened_recipe_keeps_its_stages_in_proportion() -> None:
    whole = Recipe()
    ends = [stage.until for stage in whole.shortened(whole.steps // 10).stages]
    assert ends == [round(stage.until / 10) for stage in whole.stages]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7])
def test_as_many_steps_are_done_as_were_asked_for(steps: int) -> None:
    """Fewer than there are stages: those without a step fall away."""
    short = Recipe().shortened(steps)
    ends = [stage.until for stage in short.stages]
    assert short.steps == steps == ends[-1]
    assert ends == sorted(set(ends))
    assert all(short.stage(step) in short.stages for step in range(steps))


def test_a_recipe_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError):
        Recipe(stages=())


def test_the_export_loads_with_the_stock_pipeline(start, tmp_path: Path) -> None:
    from chronos import BaseChronosPipeline

    manifest = save_model(start, tmp_path / "model", recipe=SMALL, revision="0", steps=0)
    assert verify(tmp_path / "model") == manifest
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 20e6
    pipeline = BaseChronosPipeline.from_pretrained(str(tmp_path / "model"), device_map="cpu")
    context = _walks(4, 120)
    found, _ = pipeline.predict_quantiles(context, prediction_length=STEPS, quantile_levels=list(LEVELS))
    out, location, scale = forward(start, context)
    exact = (out * scale.unsqueeze(1) + location.unsqueeze(1)).transpose(1, 2).detach()
    width = exact[..., -1:] - exact[..., :1]
    assert ((found - exact).abs() / width).max() < 0.01


def test_scores_are_put_in_and_the_weights_stay(start, tmp_path: Path) -> None:
    """Card and manifest tell the checkpoint's figures and the member's; the digest stays."""
    made = save_model(start, tmp_path, recipe=SMALL, revision="3", steps=7)
    weights = (tmp_path / "model.safetensors").read_bytes()
    assert "Not measured yet." in (tmp_path / "README.md").read_text(encoding="utf-8")
    row = {"bed": "hours", "steps": 168, "wql": 1.3, "worst": 1.4, "coverage80": 81.0, "coverage95": 96.0}
    scores = {"rows": [row], "member": [{**row, "wql": 0.9, "coverage80": 79.0}]}
    again = put_scores(tmp_path, scores)
    assert verify(tmp_path) == again
    assert (again.digest, again.files, again.revision) == (made.digest, made.files, "3")
    assert again.facts == {**made.facts, "scores": scores}
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| hours | 168 | 1.300 | 1.400 | 81.0; 96.0 | 0.900 | 79.0; 96.0 |" in card
    assert "Revision 3." in card
    put_scores(tmp_path, {"rows": [row]})
    assert "| hours | 168 | 1.300 | 1.400 | 81.0; 96.0 |\n" in (tmp_path / "README.md").read_text("utf-8")


def test_the_command_trains_goes_on_and_writes_a_folder_that_verifies(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from horizoncast.cli import app

    wanted = ["models", "pretrain", "--output", str(tmp_path / "own"), "--steps", "5", "--device", "cpu"]
    first = CliRunner().invoke(app, wanted)
    assert first.exit_code == 0, first.output
    manifest = verify(tmp_path / "own")
    assert manifest.trained_until is None
    assert manifest.facts["steps"] == 5
    assert manifest.name == "own"  # another recipe makes another model
    assert (tmp_path / "own" / "README.md").read_text(encoding="utf-8").startswith("# own")
    again = CliRunner().invoke(app, [*wanted, "--revision", "2"])  # trained already: only written again
    assert again.exit_code == 0, again.output
    assert verify(tmp_path / "own").files["model.safetensors"] == manifest.files["model.safetensors"]
    no_table = CliRunner().invoke(app, [*wanted, "--scores", str(tmp_path / "none.json")])
    assert isinstance(no_table.exception, ConfigError)


def test_the_checkpoint_that_ships_is_whole_and_was_trained_by_this_recipe() -> None:
    manifest = verify(SHIPPED)
    assert manifest.name == SHIPPED_NAME
    assert manifest.trained_until is None
    assert manifest.quantiles == LEVELS
    assert (manifest.context_length, manifest.prediction_length) == (512, STEPS)
    assert manifest.facts["recipe"] == plain_recipe(Recipe())
    assert manifest.facts["steps"] == Recipe().steps
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    scores = manifest.facts["scores"]
    for row in scores["rows"]:
        assert f"| {row['bed']} | {row['steps']} | {row['wql']:.3f} |" in card
        (member,) = (m for m in scores["member"] if (m["bed"], m["steps"]) == (row["bed"], row["steps"]))
        assert f"| {member['wql']:.3f} | {member['coverage80']:.1f}; {member['coverage95']:.1f} |" in card
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 20e6


@pytest.mark.parametrize(("steps", "sessions", "padded"), [(7, 180, 192), (30, 90, 96), (90, 365, 384)])
def test_the_checkpoint_that_ships_forecasts_rates_as_well_as_the_walk(
    steps: int, sessions: int, padded: int
) -> None:
    """A held-out pair, recent cutoffs: pinball loss of the walk at most 2 % better, coverage near 80 %."""
    from safetensors.torch import load_file

    model = build()
    model.load_state_dict(load_file(SHIPPED / "model.safetensors"), strict=False)
    model.eval()
    _, rates = ecb_pair("USD", "CHF")
    logs = 100 * np.log(rates)
    at = range(len(logs) - 2100, len(logs) - steps, 15)
    windows = torch.full((len(at), padded), torch.nan)
    windows[:, padded - sessions :] = torch.tensor(
        np.stack([logs[i - sessions : i] - logs[i - 1] for i in at])
    )
    truth = torch.tensor(np.stack([logs[i : i + steps] - logs[i - 1] for i in at]), dtype=torch.float32)
    with torch.no_grad():
        out, location, scale = forward(model, windows)
    found = (out * scale.unsqueeze(1) + location.unsqueeze(1))[:, :, :steps]
    walk = (walk_quantiles(windows) * scale.unsqueeze(1) + location.unsqueeze(1))[:, :, :steps]
    assert _pinball(found, truth) < 1.02 * _pinball(walk, truth)
    inside = (truth > found[:, LEVELS.index(0.1)]) & (truth < found[:, LEVELS.index(0.9)])
    assert 0.7 < inside.float().mean() < 0.9
