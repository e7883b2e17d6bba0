"""Reports and pictures to render: each verdict, many α and few, no arm and six, and names that try to break out of a page.

The accuracies are made up around those that the embedded default gives; nothing here is a result.
"""

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from job import arms as table
from job.report.model import (
    Arm,
    ArmCurve,
    Beside,
    ClassRow,
    Confirmed,
    CostOf,
    Counts,
    Gain,
    Often,
    Prices,
    Report,
    SeedGain,
    Spent,
)
from job.report.page import Picture
from job.report.words import beyond_words, verdict_paragraph

ALPHAS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
CURVE = (0.895, 0.914, 0.946, 0.954, 0.968, 0.938)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NASTY = (
    "<script>alert('class')</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "&amp;", "javascript:alert(1)",
    "חתול", "猫", "a" * 90, "$\\alpha^{x}$", "</style><style>*{display:none}",
)
N_REAL = 80
IN_CLASS = (14, 11, 9, 3, 8, 8, 7, 2, 9, 9)   # real training images
EFFECTS = {   # of the arms over α = 0, as shares of the candidate's; and by how much more
    "placebo": (0.0, -0.002), "reweighted": (0.3, 0.004), "synthetic_only": (0.5, -0.38), "unfiltered": (0.7, 0.0),
    "augmented": (0.4, 0.01), "augmented_mix": (1.0, 0.012),
}


def helped(names: Sequence[str] = DIGITS, alphas: Sequence[float] = ALPHAS, curve: Sequence[float] = CURVE) -> Report:
    return beside(report("helped", Gain(mean=0.089, low=0.066, high=0.111, standard_error=0.0108, n_images=617, n_seeds=10),
                         names, alphas, curve), ("placebo", "reweighted"), {"placebo": alphas[1:-1:2] or alphas[1:]})


def undecided() -> Report:
    """The verdict of most honest runs, with one arm beside it."""
    open_end = "for a gain of +0.4 points about 150 confirm seeds would decide; about 9,400 test images would decide"
    gain = Gain(mean=0.004, low=-0.011, high=0.019, standard_error=0.0071, n_images=617, n_seeds=10)
    made = report("no detectable difference", gain, curve=(0.895, 0.899, 0.903, 0.897, 0.901, 0.72), would_decide=open_end,
                  warnings=["α = 0 has not converged: over the last tenth of 300 steps its training loss still fell by 14% to "
                            "0.21 (median of 5 seeds), so a gain may be the budget's: set SALTWORKS_TRAIN__STEPS=600"])
    return beside(made, ("placebo",))


def hurt() -> Report:
    gain = Gain(mean=-0.042, low=-0.063, high=-0.021, standard_error=0.0101, n_images=617, n_seeds=10)
    return beside(report("hurt", gain, curve=(0.895, 0.871, 0.868, 0.83, 0.74, 0.52), test_looks=3, priced=True),
                  ("placebo", "reweighted", "synthetic_only"), {"placebo": (0.25, 0.75)})


def no_verdict() -> Report:
    gain = Gain(mean=0.03, low=-1, high=1, standard_error=1, n_images=617, n_seeds=1)
    why = "one confirm seed gives no verdict: set SALTWORKS_SWEEP__CONFIRM_SEEDS to at least 5"
    return beside(report("no verdict", gain, would_decide=why, warnings=[why], sweep_seeds=1), ("placebo", "reweighted"),
                  {"placebo": (0.9,)})


def identical() -> Report:
    gain = Gain(mean=0, low=0, high=0, standard_error=0, n_images=617, n_seeds=10)
    why = "both arms are right on the same images under every seed: there is nothing to decide"
    return report("no detectable difference", gain, curve=(1.0,) * 6, would_decide=why, noise=0.0)


def eleven() -> Report:
    alphas = tuple(step / 10 for step in range(11))
    curve = tuple(0.895 + 0.3 * alpha * (1 - alpha) + 0.03 * alpha for alpha in alphas)
    return helped(alphas=alphas, curve=curve)


def two() -> Report:
    return helped(alphas=(0.0, 0.5), curve=(0.895, 0.946))


def crowded() -> Report:
    """α so close together that their labels must make room for each other."""
    alphas = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975, 0.99, 1.0)
    return report("no detectable difference", undecided().gain_detail, alphas=alphas, would_decide="it is a sample",
                  curve=tuple(0.9 + 0.004 * (at % 5) - (0.2 if alpha > 0.98 else 0) for at, alpha in enumerate(alphas)))


def six() -> Report:
    """Every arm that there is, and every curve."""
    return beside(helped(), tuple(EFFECTS), {name: ALPHAS[1:-1] for name in ("augmented_mix", "placebo", "unfiltered")})


def long() -> Report:
    """A candidate without any arm, and an objective that takes many words."""
    objective = f"recall of {', '.join(f'scratched casing no. {at}' for at in range(1, 13))}"
    return report("hurt", hurt().gain_detail, curve=(0.895, 0.871, 0.868, 0.83, 0.74, 0.52)).model_copy(update={"score_name": objective})


def nasty() -> Report:
    made = helped(NASTY)
    return made.model_copy(update={
        "dataset": "<script>alert('dataset')</script>", "warnings": ["<script>alert('warning')</script>"],
        "generator": made.generator | {"templates": "<img src=https://example.com/x.png> | a photo of a {name}"},
        "settings": made.settings | {"<b>name</b>": ["</script>", {"a": "<i>"}]},
    })


SAMPLES: dict[str, Callable[[], Report]] = {
    "helped": helped, "undecided": undecided, "hurt": hurt, "no verdict": no_verdict, "identical": identical,
    "eleven": eleven, "two": two, "crowded": crowded, "six": six, "long": long, "nasty": nasty,
}


def report(
    verdict: str,
    gain: Gain,
    names: Sequence[str] = DIGITS,
    alphas: Sequence[float] = ALPHAS,
    curve: Sequence[float] = CURVE,
    *,
    would_decide: str = "",
    warnings: Sequence[str] = (),
    test_looks: int = 1,
    sweep_seeds: int = 5,
    priced: bool = False,
    noise: float = 0.012,
) -> Report:
    """A whole report around one verdict; ``curve`` holds the mean validation accuracy at each α."""
    random = np.random.default_rng(7)
    arms = [_arm(alpha, mean, alphas, random, sweep_seeds, noise) for alpha, mean in zip(alphas, curve, strict=True)]
    best = max(arms[1:], key=lambda arm: arm.val_accuracy)
    spread = _noise(noise, gain.n_seeds, random)
    real_only = Confirmed(alpha=0, seeds=list(range(100, 100 + gain.n_seeds)), test_accuracy=0.895,
                          test_accuracies=(0.895 + spread).tolist())
    shift = gain.mean + _noise(noise, gain.n_seeds, random)
    salted = Confirmed(alpha=best.alpha, seeds=real_only.seeds, test_accuracy=0.895 + gain.mean,
                       test_accuracies=(0.895 + spread + shift).tolist())
    detectable = 1.0 if verdict == "no verdict" else 3 * gain.standard_error
    gains = (np.array(salted.test_accuracies) - real_only.test_accuracies).tolist()
    classes = [_class(at, name, gain, random) for at, name in enumerate(names)]
    counts = Counts(**{name: sum(getattr(one, name) for one in classes) for name in Counts.model_fields})
    return Report(
        dataset="digits", run="r-5f1c9a02e7d4", edition="e-90b2c47d11aa", verdict=verdict,
        alpha_star=best.alpha if verdict == "helped" else 0.0, candidate=best.alpha,
        sentence=verdict_paragraph(
            word=verdict, candidate=best.alpha, gain=gain, baseline_accuracy=0.895, candidate_accuracy=0.895 + gain.mean,
            smallest_detectable=detectable, would_decide=would_decide, score_name="accuracy",
        ),
        gain=gain.mean, gain_interval=(gain.low, gain.high), gain_detail=gain, smallest_detectable=detectable,
        would_decide=would_decide, test_looks=test_looks, score_name="accuracy", argmax_alpha=best.alpha,
        argmax_val_gain=best.val_accuracy - arms[0].val_accuracy, one_se_alpha=arms[max(1, arms.index(best) - 1)].alpha,
        interior_optimum=False,
        arms=[_over(one, arms[0]) for one in arms], confirmed=[real_only, salted],
        seed_gains=[SeedGain(seed=seed, gain=one) for seed, one in zip(real_only.seeds, gains, strict=True)],
        stability=_stability(arms[1:]), held={"batch": "64, always full", "locked test": f"617 real images; looks in all: {test_looks}"},
        n_train=N_REAL, n_val=200, n_test=617,
        n_aside=3, aside={"beyond the cap": 1, "identical to another": 2}, n_refused=1, refused=["seven/torn.png: it is truncated"],
        counts=counts, rounds=2,
        classes=classes, warnings=list(warnings), spent=_spent(priced), wall_s=192.4, cost=0.0731 if priced else None,
        cost_of=CostOf(kept_image=2e-05, published_image=0.0001, trial=0.004, point_gained=0.008 if verdict == "helped" else None)
        if priced else CostOf(kept_image=None, published_image=None, trial=None, point_gained=None),
        reused={"r-0c7e": 120} if priced else {},
        prices=Prices(per_gpu_hour=2.5, per_cpu_hour=0.04, currency="EUR", source="an invoice", date="2026-01-31") if priced
        else Prices(per_gpu_hour=None, per_cpu_hour=None, currency="USD", source="", date=""),
        generator={"name": "text_to_image", "model": "tiny-digits", "revision": "1", "licence": "apache-2.0",
                   "weights": "sha256:" + "4f" * 32, "recipe": "c-77aa01", "templates": "a photo of a {name} | a drawing of a {name}"},
        settings={"allocation": "proportional", "alphas": list(alphas), "filter": {"kind": "threshold", "minimum": 0.0},
                  "train_size_px": 16},
        versions={"saltworks": "0.1.0", "python": "3.11.13", "ray": "2.60.0", "torch": "2.15.0"},
        hardware={"machine": "x86_64", "system": "Linux", "processors": "2"},
    )


def beside(made: Report, names: Sequence[str], curves: Mapping[str, Sequence[float]] | None = None) -> Report:
    """The same with arms in its confirmation, and curves of arms in its sweep."""
    random = np.random.default_rng(11)
    gain, base = made.gain_detail, made.confirmed[0].test_accuracy
    rows = []
    for name in names:
        share, more = EFFECTS[name]
        effect, word = _judged(share * gain.mean + more, gain)
        beyond, beyond_word = _judged(gain.mean - effect.mean, gain)
        arm = table.find(name)
        rows.append(Beside(
            arm=name, title=arm.title, asks=arm.asks, control=arm.control, alpha={"zero": 0.0, "one": 1.0}.get(arm.at, made.candidate),
            n_real=N_REAL, n_synthetic=0, samples_seen=19_200, test_accuracy=base + effect.mean,
            test_accuracies=[base + effect.mean] * gain.n_seeds, effect=effect, effect_word=word, beyond=beyond,
            beyond_word=beyond_word,
        ))
    above = [one.arm for one in rows if one.control and one.beyond_word == "helped"]
    alphas, n_seeds = [arm.alpha for arm in made.arms], len(made.arms[0].seeds)
    tried = [ArmCurve(arm=name, title=table.find(name).title, arms=[
        _over(_arm(alpha, made.arms[0].val_accuracy + EFFECTS[name][0] * gain.mean * alpha, alphas, random, n_seeds, 0.01), made.arms[0])
        for alpha in tried]) for name, tried in (curves or {}).items()]
    told = beyond_words(above, [one.arm for one in rows if one.control and one.arm not in above]) if made.verdict == "helped" else ""
    return made.model_copy(update={"beside": rows, "curves": tried, "beyond": told})


def gallery(names: Sequence[str] = DIGITS) -> list[Picture]:
    """Three kept and one rejected picture of every class."""
    random = np.random.default_rng(3)
    pictures = []
    for name in names:
        for state in ("kept", "kept", "kept", "rejected"):
            margin = float(random.uniform(0.2, 0.9)) * (-1 if state == "rejected" else 1)
            reason = f"clipscore.margin {margin:.3g} < 0" if state == "rejected" else ""
            pictures.append(Picture(name, state, reason, {"clipscore.margin": margin}, f"syn-{len(pictures):032x}",
                                    picture(len(pictures))))
    return pictures


def picture(seed: int, size_px: int = 32) -> bytes:
    """A grey blob on black as PNG, another one for every seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px - random.uniform(0.3, 0.7, (2, 1, 1))
    blob = 255 * np.exp(-((x**2 + y**2) * random.uniform(10, 60)))
    out = io.BytesIO()
    Image.fromarray(blob.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def _noise(scale: float, n: int, random: np.random.Generator) -> np.ndarray:
    errors = scale * random.normal(size=n)
    return errors - errors.mean()


def _arm(
    alpha: float, mean: float, alphas: Sequence[float], random: np.random.Generator, n_seeds: int, noise: float
) -> Arm:
    share = max(one for one in alphas if one < 1) if alpha == 1 else alpha
    n_synthetic = round(share / (1 - share) * N_REAL)
    n_real = 0 if alpha == 1 else N_REAL
    per_seed = np.clip(mean + _noise(noise, n_seeds, random), 0, 1)
    return Arm(
        alpha=alpha, realised_alpha=n_synthetic / (n_synthetic + n_real), n_real=n_real, n_synthetic=n_synthetic,
        samples_seen=19_200, seeds=list(range(n_seeds)), val_accuracy=float(per_seed.mean()),
        val_standard_error=float(per_seed.std(ddof=1) / n_seeds**0.5) if n_seeds > 1 else 0.0,
        val_accuracies=per_seed.tolist(),
    )


def _over(arm: Arm, base: Arm) -> Arm:
    """The arm with what it gained over α = 0; one seed, and α = 0 itself, gain nothing that could be judged."""
    mean, half = arm.val_accuracy - base.val_accuracy, 2.2 * (arm.val_standard_error**2 + base.val_standard_error**2) ** 0.5
    gain = Gain(mean=mean, low=mean - half, high=mean + half, standard_error=half / 2.2, n_images=200, n_seeds=len(arm.seeds))
    return arm.model_copy(update={"val_gain": gain if arm.alpha and len(arm.seeds) > 1 else None})


def _judged(mean: float, like: Gain) -> tuple[Gain, str]:
    """A difference with an interval as wide as another's, and its word."""
    if like.n_seeds < 2:
        return like.model_copy(update={"mean": mean}), "no verdict"
    half = (like.high - like.low) / 2
    word = "helped" if mean > 1.2 * half else "hurt" if mean < -1.2 * half else "no detectable difference"
    return like.model_copy(update={"mean": mean, "low": mean - half, "high": mean + half}), word


def _stability(arms: Sequence[Arm]) -> list[Often]:
    weights = np.exp(100 * np.array([arm.val_accuracy for arm in arms]))
    return [Often(alpha=arm.alpha, share=share) for arm, share in zip(arms, (weights / weights.sum()).tolist(), strict=True)]


def _class(at: int, name: str, gain: Gain, random: np.random.Generator) -> ClassRow:
    rejected = int(random.integers(0, 30))
    mean = gain.mean + 0.05 * float(random.normal())
    half = 0.06 + 0.02 * float(random.random())
    word = "no verdict" if gain.n_seeds < 2 else "helped" if mean - half > 0.03 else "no detectable difference"
    low, high = (-1.0, 1.0) if gain.n_seeds < 2 else (mean - half, mean + half)
    tested = at != 7   # one class without a test image
    return ClassRow(
        name=name, n_real=IN_CLASS[at], rare=IN_CLASS[at] <= 4, planned=120, kept=72, rejected=rejected, failed=at % 2,
        unused=120 - 72 - rejected - at % 2,
        scores={"clipscore.score": float(random.uniform(24, 31)), "clipscore.margin": float(random.uniform(0.2, 0.8))},
        flag="mean clipscore.margin 0.02 lies 0.5 below the median 0.52 of the other 9 classes; 0.21 would be usual" if at == 3 else "",
        n_test=61 if tested else 0, test_accuracy_real_only=0.88 if tested else None,
        test_accuracy_candidate=min(1.0, 0.88 + mean) if tested else None,
        gain=Gain(mean=mean, low=low, high=high, standard_error=0, n_images=61, n_seeds=gain.n_seeds) if tested else None,
        gain_word=word if tested else "",
    )


def _spent(priced: bool) -> list[Spent]:
    def room(name: str, wall_s: float, worker_s: dict[str, float], cost: float, gpu: bool = False) -> Spent:
        return Spent(room=name, wall_s=wall_s, worker_s=worker_s, gpu=gpu, cost=cost if priced else None)

    return [
        room("plan", 0.4, {}, 0.0), room("ray", 9.8, {}, 0.0),
        room("generate", 41.0, {"load": 7.1, "draw": 61.5, "encode": 2.2}, 0.0491, gpu=True),
        room("measure", 12.7, {"load": 5.2, "score": 13.9}, 0.0002), room("sweep", 74.3, {"load": 3.0, "train": 121.8}, 0.0139),
        room("confirm", 52.6, {"load": 2.4, "train": 84.1}, 0.0096), room("report", 1.6, {}, 0.0003),
    ]
