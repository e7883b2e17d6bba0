"""Stable Diffusion XL in small: a sample's picture does not depend on its batch, however it is guided and in however few steps."""

from typing import Any

import numpy as np
import pytest

from tests.contract import tiny_pipeline
from tests.contract.test_text_to_image import loaded, pictures, specs_of

pytestmark = [
    pytest.mark.contract,
    # Euler's schedulers hand a tensor to numpy in a way that numpy 2 wants otherwise; nothing of ours can change it.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_pipeline.save_sdxl(str(tmp_path_factory.mktemp("sdxl")))


@pytest.mark.parametrize("options", [
    {"guidance": 6},
    {"guidance": 6, "negative_prompt": "bad"},
    {"guidance": 6, "guidance_share": 0.5},
    {"guidance": 6, "guidance_share": 0.5, "negative_prompt": "bad"},
    {"guidance": 1, "scheduler": "LCMScheduler"},
    {"guidance": 1, "scheduler": "TCDScheduler"},
    {"guidance": 0, "steps": 1},   # as Turbo
    {"guidance": 0, "scheduler": "EulerDiscreteScheduler", "timestep_spacing": "trailing"},   # as Lightning
])
def test_whole_alone_and_backwards_a_picture_moves_by_a_grey_level_at_most(sdxl: str, options: dict[str, Any]) -> None:
    specs = specs_of(32, 4)
    generator, _ = loaded(sdxl, **{"steps": 4, **options})
    whole = pictures(generator.draw(specs))
    assert tiny_pipeline.far(whole, np.concatenate([pictures(generator.draw([spec])) for spec in specs])) <= 1
    assert tiny_pipeline.far(whole, pictures(generator.draw(specs[::-1]))[::-1]) <= 1
    assert tiny_pipeline.far(whole, pictures(loaded(sdxl, steps=4)[0].draw(specs))) > 1


def test_a_scheduler_keeps_the_models_spacing_unless_another_is_asked_for(sdxl: str) -> None:
    """SDXL's base model says leading, with which Lightning would start a step short of pure noise."""
    for options, spacing, first in (({}, "leading", 751), ({"scheduler": "EulerDiscreteScheduler"}, "leading", 751),
                                    ({"timestep_spacing": "trailing"}, "trailing", 999)):
        generator, _ = loaded(sdxl, **{"steps": 4, "guidance": 0, **options})
        generator.draw(specs_of(32, 1))
        scheduler = generator._pipeline.scheduler
        assert (scheduler.config.timestep_spacing, int(scheduler.timesteps[0])) == (spacing, first)
