"""Laws of the report: everything is shown and escaped, nothing is fetched, words match numbers."""

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from job.errors import JobError
from job.report import words
from job.report.model import Report
from job.report.page import Picture, Scale, beside_scale, data_uri, render
from job.report.schema import schema
from tests.unit.report_sample import NASTY, SAMPLES, gallery, helped, hurt, nasty, picture

pytestmark = pytest.mark.unit

PIXEL = picture(1, size_px=1)
ADDRESSES = ("src", "href", "srcset", "action", "data", "poster", "style")
each = pytest.mark.parametrize("made", [make() for make in SAMPLES.values()], ids=list(SAMPLES))


class Parsed(HTMLParser):
    """What a browser would make of a page: its elements, and its text outside <style>."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._style = "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._style else data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(made: Report) -> str:
    return render(made, PIXEL, gallery([row.name for row in made.classes]))


def squeezed(text: str) -> str:
    return " ".join(text.split())


@each
def test_every_number_of_the_verdict_stands_on_the_page(made: Report) -> None:
    text = squeezed(Parsed(page_of(made)).text)
    headline = words.HEADLINES[made.verdict]
    assert f"{headline} {squeezed(made.sentence.removeprefix(headline + '. '))}" in text
    assert f"α* = {made.alpha_star:g}" in text
    assert made.would_decide in text
    assert "optimistic" in text
    assert all(squeezed(warning) in text for warning in made.warnings)


@each
def test_every_arm_and_every_class_has_its_row(made: Report) -> None:
    parsed = Parsed(page_of(made))
    assert [row["data-alpha"] for row in parsed.all("tr") if "data-alpha" in row] == [str(arm.alpha) for arm in made.arms]
    text = squeezed(parsed.text)
    assert all(squeezed(row.name) in text for row in made.classes)
    assert all(squeezed(row.flag) in text for row in made.classes)


@each
def test_the_difference_of_every_fresh_seed_stands_on_the_page(made: Report) -> None:
    parsed, places = Parsed(page_of(made)), words.decimals(made.gain_detail)
    text = squeezed(parsed.text)
    for one in made.seed_gains:
        assert f"seed {one.seed} {words.points(one.gain, places, signed=True)}" in text
    assert f"{sum(one.gain > 0 for one in made.seed_gains)} of {words.seeds(len(made.seed_gains))}" in text


@each
def test_the_forest_puts_the_classes_with_the_fewest_real_images_first_and_all_of_them_together_last(made: Report) -> None:
    forest = squeezed(Parsed(page_of(made).partition('class="forest"')[2].partition("</table>")[0]).text)
    names = [squeezed(row.name) for row in sorted(made.classes, key=lambda row: row.n_real)]
    at = 0
    for name in (*names, f"overall: {made.score_name}"):
        at = forest.index(name, at) + len(name)
    assert forest.count(" rare ") == sum(row.rare for row in made.classes)
    assert all(words.bounds(row.gain, signed=True) in forest for row in made.classes if row.gain and made.verdict != "no verdict")


@each
def test_it_is_told_in_words_how_often_each_alpha_would_be_the_candidate(made: Report) -> None:
    text = squeezed(Parsed(page_of(made)).text)
    assert all(f"α = {one.alpha:g} {100 * one.share:.0f} %" in text for one in made.stability)


@each
def test_every_section_can_be_reached_from_the_top_and_what_was_held_fixed_has_its_own(made: Report) -> None:
    parsed = Parsed(page_of(made))
    there = {attributes["id"] for _, attributes in parsed.elements if attributes.get("id")}
    named = {link["href"] for link in parsed.all("a")}
    assert named <= {f"#{one}" for one in there}
    assert ("#held" in named) == bool(made.held)
    text = squeezed(parsed.text)
    assert all(f"{name} {value}" in text for name, value in made.held.items())


@each
def test_every_interval_on_validation_is_told_as_one_before_choosing(made: Report) -> None:
    text = squeezed(Parsed(page_of(made)).text)
    tried = [arm.val_gain for curve in (made, *made.curves) for arm in curve.arms if arm.val_gain]
    assert all(f"{words.points(one.mean, 1, signed=True)} {words.bounds(one, signed=True)}" in text for one in tried)
    assert ("not corrected for choosing" in text) == bool(tried)


def test_an_arm_far_away_squeezes_no_strip_and_is_marked_at_its_end() -> None:
    made = SAMPLES["six"]()
    scale = beside_scale(made, certain=True)
    far = next(one for one in made.beside if one.arm == "synthetic_only")
    assert (scale.off(far.effect), scale.off(far.beyond)) == ("left", "right")
    assert not any(scale.off(gain) for one in made.beside if one is not far for gain in (one.effect, one.beyond))
    assert 'class="off left"' in page_of(made)


@each
def test_every_picture_and_the_figure_are_inside_the_page(made: Report) -> None:
    pictures = gallery([row.name for row in made.classes])
    sources = [image["src"] for image in Parsed(render(made, PIXEL, pictures)).all("img")]
    assert sources == [data_uri(PIXEL), *(one.source for one in pictures)]


@each
def test_no_page_points_outside_itself(made: Report) -> None:
    for _, attributes in Parsed(page_of(made)).elements:
        for name in ADDRESSES:
            value = attributes.get(name) or ""
            assert "//" not in value.partition(",")[0], value
            assert name not in ("src", "href") or not value or value.startswith(("data:", "#")), value


def test_no_name_or_prompt_or_warning_becomes_markup() -> None:
    parsed, plain = Parsed(page_of(nasty())), Parsed(page_of(helped()))
    assert {tag for tag, _ in parsed.elements} <= {tag for tag, _ in plain.elements} | {"ul", "li"}
    assert not parsed.all("script")
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert len(parsed.all("style")) == 1
    for name in (*NASTY, "<script>alert('dataset')</script>", "<script>alert('warning')</script>", "<b>name</b>"):
        assert squeezed(name) in squeezed(parsed.text)


def test_the_page_forbids_scripts_and_foreign_addresses_to_itself() -> None:
    policies = [one["content"] for one in Parsed(page_of(helped())).all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script-src" not in policies[0]


def test_rejected_pictures_stand_behind_the_kept_ones_with_their_reasons() -> None:
    kept = Picture("one", "kept", "", {"clipscore.margin": 0.5}, "syn-a", PIXEL)
    rejected = Picture("one", "rejected", "clipscore.margin -0.1 < 0", {"clipscore.margin": -0.1}, "syn-b", PIXEL)
    text = Parsed(render(helped(), PIXEL, [rejected, kept])).text
    assert text.index("syn-a") < text.index("clipscore.margin -0.1 < 0") < text.index("syn-b")


def test_counts_that_do_not_add_up_are_said_to_be_wrong() -> None:
    made = helped()
    wrong = made.model_copy(update={"counts": made.counts.model_copy(update={"failed": made.counts.failed + 3})})
    assert "do not add up" not in page_of(made)
    assert "do not add up" in page_of(wrong)


def test_without_a_price_no_cost_is_stated_and_with_one_its_source_and_date_stand_beside_it() -> None:
    free, priced = Parsed(page_of(helped())).text, squeezed(Parsed(page_of(hurt())).text)
    assert words.NO_PRICE in free
    assert "USD" not in free
    assert "2.5 EUR per GPU-hour, 0.04 EUR per CPU-hour (source: an invoice; date: 2026-01-31)" in priced
    assert words.NO_PRICE not in priced


def test_a_second_look_at_the_test_is_marked() -> None:
    assert "more than one" in page_of(hurt())
    assert "more than one" not in page_of(helped())


def test_a_class_without_a_score_gets_a_dash_and_not_nan() -> None:
    made = helped()
    first = made.classes[0].model_copy(update={"scores": {"clipscore.margin": float("nan")}})
    page = page_of(made.model_copy(update={"classes": [first, *made.classes[1:]]}))
    assert "nan" not in Parsed(page).text.lower().split()


def test_small_pictures_show_their_pixels_and_large_ones_are_smooth() -> None:
    small, large = (Picture("one", "kept", "", {}, "syn-a", picture(1, size_px=size)) for size in (32, 64))
    assert small.small
    assert not large.small


def test_a_picture_that_is_no_image_is_refused() -> None:
    with pytest.raises(JobError, match="neither PNG nor JPEG"):
        render(helped(), b"<svg/>", [])


def test_a_jpeg_is_embedded_as_what_it_is() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    assert data_uri(out.getvalue()).startswith("data:image/jpeg;base64,")


def test_the_same_report_gives_the_same_bytes() -> None:
    assert page_of(helped()) == page_of(helped())


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_a_place_on_a_scale_stays_on_the_line(low: float, high: float, value: float) -> None:
    share = float(Scale(min(low, high), max(low, high)).at(value).removesuffix("%"))
    assert 0 <= share <= 100


def test_the_published_schema_is_the_one_of_the_code() -> None:
    published = Path(__file__).parents[2] / "docs" / "report.schema.json"
    assert published.read_text() == schema(), "make it again: python -m job.report.schema > docs/report.schema.json"


@each
def test_every_sample_obeys_the_published_schema_and_reads_back(made: Report) -> None:
    text = made.model_dump_json()
    jsonschema.Draft202012Validator(json.loads(schema())).validate(json.loads(text))
    assert Report.model_validate_json(text) == made


def test_the_schema_refuses_a_report_with_a_missing_or_a_foreign_field() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    whole = json.loads(helped().model_dump_json())
    assert not validator.is_valid({name: value for name, value in whole.items() if name != "schema_version"})
    assert not validator.is_valid(whole | {"surprise": 1})
