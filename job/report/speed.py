"""How fast the run drew, for the report: its own images alone, and a utilisation only where it can be known."""

from collections.abc import Sequence

from job.generate import Committed
from job.report.model import Drawing, Spent
from job.runplan import Chip


def drawing(chip: Chip | None, own: Sequence[Committed], rooms: Sequence[Spent], gpus: float) -> Drawing | None:
    """``own``: units that this run drew itself; ``gpus``: what one of its workers held while drawing, on average.

    MFU = images · FLOP per image / (seconds of drawing · GPUs · peak), as in Chowdhery et al. (2022, PaLM), for a forward pass.
    """
    images, draw_s = sum(one.made for one in own), sum(one.draw_s for one in own)
    if not images:
        return None
    wall_s = next((one.wall_s for one in rooms if one.room == "generate"), 0.0)
    known = chip is not None and gpus > 0 and draw_s > 0
    return Drawing(
        images=images, chips=sorted({one.chip for one in own if one.chip}),
        images_per_s=images / wall_s if wall_s else None, images_per_worker_s=images / draw_s if draw_s else None,
        tflop_per_image=chip.tflop_per_image if chip else None, peak_tflops=chip.peak_tflops if chip else None,
        mfu=images * chip.tflop_per_image / (draw_s * gpus * chip.peak_tflops) if chip and known else None,
    )
