"""The comparison of drawing speeds: all loops draw equally many, shapes are the published ones, FLOPs are counted. No claim on speed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import RESULTS, finish, models
from bench.generate import LOOPS, PROFILES, Bench, Turn, chosen_options, decoded_in, ratios, summed_up
from job import chip
from tests.contract import tiny_pipeline
from tests.contract.test_picture_options import autoencoder

pytestmark = [pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(300)]
META = torch.device("meta")
PUBLISHED = {   # millions of weights, and TFLOP of one image: of the UNet at its own size, the decoder, the readers of prompts
    "sd15": (859.5, 0.8033, 2.514, {"text_encoder": (123.1, 0.0133)}),
    "sdxl": (2567.5, 6.761, 10.470, {"text_encoder": (123.1, 0.0133), "text_encoder_2": (694.7, 0.0979)}),
}


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench.generate", *flags], capture_output=True, text=True)


@pytest.mark.parametrize("profile", ["tiny", "tiny-sd15"])
def test_all_of_it_runs_and_every_loop_draws_equally_many_images(profile: str, tmp_path: Path) -> None:
    few = ("--steps", "2", "--batches", "2,3", "--images", "5", "--runs", "1")
    said = run("--profile", profile, *few, "--json", str(tmp_path / "found.json"))
    assert said.returncode == 0, said.stderr[-2000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert [one["images_by_each"] for one in found["batches"]] == [6, 6]   # whole batches
    for one in found["batches"]:
        assert {one[loop]["images_per_turn"] for loop in LOOPS} == {6}
        assert one["lab"]["batch"] == 1
        assert min(one["ratio_ours_to_lab"], one["ratio_ours_to_plain"], *(one[loop]["mfu"] for loop in LOOPS)) > 0
        assert {one[loop]["peak_gib"] for loop in LOOPS} == {None}   # nobody counts on a CPU
    assert found["best_batch"] in (2, 3)
    assert found["chip"]
    assert len(found["peak_runs"]) >= 3
    assert found["steps"] == 2


def test_ours_draws_with_the_autoencoder_that_is_set_and_its_own_work_is_counted(tmp_path: Path) -> None:
    common = {"model": tiny_pipeline.save(str(tmp_path / "model")), "steps": 1, "dtype": "fp32"}
    bench = Bench(PROFILES["tiny"], common | {"vae": autoencoder(tmp_path / "vae")}, "cpu", tmp_path)
    assert 0 < bench.tflop("ours") < bench.tflop("plain") == bench.tflop("lab")
    assert bench.told_formats() == dict.fromkeys(("lab", "plain", "ours"), "fp32")
    assert Bench(PROFILES["tiny"], common, "cpu", tmp_path).tflop("ours") == bench.tflop("plain")


def test_on_cuda_ours_is_compiled_unless_options_say_otherwise_and_what_all_loops_share_is_no_option() -> None:
    assert (chosen_options("", "cuda"), chosen_options("{}", "cuda"), chosen_options("", "cpu")) == ({"compile": "whole"}, {}, {})
    for text, why in (('{"steps": 4, "dtype": "fp16"}', r"may not hold steps \(--steps\), dtype \(--dtype\)"), ("[1]", "no JSON object"),
                      ("{x", "no JSON:")):
        with pytest.raises(SystemExit, match=why):
            chosen_options(text, "cuda")


def test_an_option_that_nobody_knows_ends_in_one_line() -> None:
    said = run("--options", '{"stps": 4}')
    assert said.returncode == 1
    assert said.stderr.startswith("--options")
    assert "Traceback" not in said.stderr


def test_it_is_told_that_sdxl_decodes_in_fp32_where_it_draws_in_fp16() -> None:
    import diffusers

    with META:
        vae = models.vae(models.shape("sdxl"))
    parts = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet"))
    sdxl = diffusers.StableDiffusionXLPipeline(vae=vae, scheduler=diffusers.EulerDiscreteScheduler(), **parts)
    assert [decoded_in(sdxl, dtype) for dtype in ("fp16", "bf16", "fp32")] == ["fp32", "bf16", "fp32"]
    vae.register_to_config(force_upcast=False)
    assert decoded_in(sdxl, "fp16") == "fp16"


def test_results_lie_under_the_names_by_which_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in RESULTS.glob("generate-*.json"):
        found = json.loads(file.read_text())
        assert file.name == f"generate-{found['profile']}-{found['device']}.json"
    monkeypatch.chdir(tmp_path)
    finish({}, Path(""))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_that_none_could_be_had() -> None:
    said = run("--profile", "sd15", "--device", "cuda")
    assert said.returncode == 1
    assert "no GPU could be had here" in said.stderr


def made_of(shape: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """UNet, VAE and readers of prompts without any numbers in them."""
    with META:
        return models.unet(shape), models.vae(shape), models.text_encoders(shape)


def millions(module: torch.nn.Module) -> float:
    return sum(one.numel() for one in module.parameters()) / 1e6


def on_noise(unet: Any, shape: dict[str, Any]) -> float:
    """TFLOP of one call of the UNet on one image of its own size."""
    config, size = shape["unet"], shape["unet"]["sample_size"]
    given = [torch.empty(1, 4, size, size, device=META), torch.empty((), dtype=torch.long, device=META),
             torch.empty(1, models.LENGTH, config["cross_attention_dim"], device=META)]
    more = {}
    if "addition_embed_type" in config:
        more["added_cond_kwargs"] = {"text_embeds": torch.empty(1, 1280, device=META), "time_ids": torch.empty(1, 6, device=META)}
    return chip.tflop_of(lambda: unet(*given, **more))


def on_latents(vae: Any, shape: dict[str, Any]) -> float:
    size = shape["unet"]["sample_size"]
    return chip.tflop_of(lambda: vae.decode(torch.empty(1, 4, size, size, device=META)))


def on_tokens(reader: Any) -> float:
    return chip.tflop_of(lambda: reader(torch.zeros(1, models.LENGTH, dtype=torch.long, device=META)))


@pytest.mark.parametrize("name", PUBLISHED)
@torch.no_grad()
def test_the_shapes_have_the_weights_and_the_flops_of_the_published_models(name: str) -> None:
    shape = models.shape(name)
    unet, vae, readers = made_of(shape)
    weights, unet_tflop, vae_tflop, texts = PUBLISHED[name]
    assert millions(unet) == pytest.approx(weights, abs=0.05)
    assert millions(vae.decoder) == pytest.approx(49.5, abs=0.05)
    assert on_noise(unet, shape) == pytest.approx(unet_tflop, rel=1e-3)
    assert on_latents(vae, shape) == pytest.approx(vae_tflop, rel=1e-3)
    for one, (size, tflop) in texts.items():
        assert millions(readers[one]) == pytest.approx(size, abs=0.05)
        assert on_tokens(readers[one]) == pytest.approx(tflop, rel=0.01)
    assert 8 * shape["unet"]["sample_size"] == PROFILES[name].size_px


@torch.no_grad()
def test_the_flops_of_a_whole_call_are_those_of_its_parts(tmp_path: Path) -> None:
    import diffusers

    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(models.save("tiny-sd15", str(tmp_path), "cpu", torch.float32))
    pipeline.set_progress_bar_config(disable=True)
    whole = chip.tflop_of(lambda: pipeline("a cat", num_inference_steps=3, guidance_scale=6.5, height=64, width=64))
    shape = models.shape("tiny-sd15")
    unet, vae, readers = made_of(shape)
    calls = len(pipeline.scheduler.timesteps)
    assert calls == 4   # this scheduler takes one more than it is asked for
    parts = 2 * on_tokens(readers["text_encoder"]) + calls * 2 * on_noise(unet, shape) + on_latents(vae, shape)   # 2: with guidance
    assert whole == pytest.approx(parts, rel=1e-6)


def test_a_loop_s_numbers_follow_from_its_turns() -> None:
    turns = [Turn(8, 0, 11.0, None), Turn(16, 0, 2.0, 3.0), Turn(16, 1, 4.0, 4.0), Turn(16, 0, 3.2, 3.5)]
    found = summed_up(turns, 8, tflop=50.0, peak=800.0)
    assert (found["images_per_s"], found["ms_per_image"], found["tflop_per_s"], found["mfu"]) == (5.0, 200.0, 250.0, 0.3125)
    assert (found["compile_s"], found["peak_gib"], found["unusable"]) == (9.4, 4.0, 1)   # 11 s, less 8 images at 5 a second
    lab = [Turn(1, 0, 1.0, None), *(Turn(16, 0, 16.0, None) for _ in range(3))]
    assert ratios({"ours": turns, "lab": lab}, "lab") == [8.0, 4.0, 5.0]
