"""The dataset card: ``README.md`` beside a version, in the form that Hugging Face reads, without a number written by hand.

Made from the version alone, so it can be made again at any time.
"""

import html
import json

import jinja2

from job.ground import layout
from job.ground.store import Store
from job.publish.model import Version

CARD = "README.md"
CATEGORIES = {"classification": "image-classification"}   # our task: Hugging Face's name of it
SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"), (1e8, "10M<n<100M"))


def write(store: Store, version: Version) -> str:
    """Make the card, over an earlier one of the same version; returns its key."""
    key = layout.version_file(version.dataset, version.number, CARD)
    store.replace(key, text(version).encode())
    return key


def text(version: Version) -> str:
    """The card as Markdown with YAML in front."""
    environment = jinja2.Environment(   # of Markdown: what came from outside passes one of the filters
        loader=jinja2.PackageLoader("job", "publish"), undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= {"yaml": json.dumps, "text": _text, "code": _code}   # JSON is YAML
    snippet = environment.get_template("snippet.py.j2").render(
        mix=version.of("mix")[0].key, classes=json.dumps([one.name for one in version.classes], ensure_ascii=False))
    return environment.get_template("card.md.j2").render(
        version=version, licences=_licences(version), size=size_category(version.counts.kept), limits=limits(version), cost=_cost(version),
        category=CATEGORIES.get(version.task, "other"), points=lambda share: f"{100 * share:+.1f}", snippet=snippet,
        key=layout.version(version.dataset, version.number),
    )


def limits(version: Version) -> list[str]:
    """What the images and the verdict cannot promise, in sentences."""
    judged, lineage = version.judged, version.lineage
    told = [
        "The verdict holds for the one real training set that was used, and for images like those that judged it: another could "
        "gain more or less.",
        f"It was measured on {judged.n_test} real images as {judged.score_name} of one model on one schedule, which stand among "
        "the settings of the version.",
        "A synthetic image is labelled by the class that its prompt asked for; what passed the filter may still show another.",
        f"What the model {lineage.model!r} cannot draw is missing here, and what it draws too often is too frequent.",
        "Generated images among the real ones that bear no mark cannot be told from real ones.",
    ]
    if judged.word != "helped":
        told.append(f"The verdict is {judged.word!r}: no gain from synthetic images was found, and the recommended mix holds none.")
    if judged.test_looks > 1:
        told.append(f"The locked test was looked at {judged.test_looks} times, so its interval is somewhat too narrow.")
    if lineage.depth > 1:
        told.append(f"The model was itself trained on generated images (depth {lineage.depth}): errors may have piled up.")
    return told


def size_category(images: int) -> str:
    """Hugging Face's name for a number of images."""
    return next((name for limit, name in SIZES if images < limit), "100M<n<1B")


def _licences(version: Version) -> str | list[str]:
    """Identifiers as Hugging Face writes them: in lower case."""
    found = sorted({one.lower() for part in version.lineage.licence.split(" | ") for one in part.split(" AND ") if one})
    return found[0] if len(found) == 1 else found or "unknown"


def _cost(version: Version) -> str:
    cost = version.cost
    if cost.total is None:
        return "not stated: no price was given"
    one = ("published image", cost.per_published_image), ("kept image, to draw and to measure", cost.per_kept_image)
    each = "".join(f"; {value:.3g} per {what}" for what, value in one if value is not None)
    beside = f"{cost.price_source or 'no source given'}, {cost.price_date or 'no date given'}"
    return f"{cost.total:.2f} {cost.currency}{each} (prices: {beside})"


def _text(value: str) -> str:
    """Words from outside: they stay words in a sentence or a cell of a table."""
    return html.escape(" ".join(value.split()), quote=False).replace("|", "\\|").replace("`", "\\`").replace("[", "\\[")


def _code(value: str) -> str:
    """Words from outside between backticks."""
    return " ".join(value.split()).replace("`", "'").replace("|", "¦")
