"""Whatever a password or a signed query holds, it is not shown; text and addresses without secrets stay as they are."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from job.errors import redact

pytestmark = pytest.mark.unit
VISIBLE = st.text(st.sampled_from("/@'\"?#&=:%,{}[]") | st.characters(exclude_categories=("Z", "C")))   # no white space
SECRET = VISIBLE.map("Zq7".__add__) | VISIBLE.map(lambda text: f"{text}Zq7")
SCHEME = st.sampled_from(["s3", "gs", "https", "s3+cached", "simplecache::s3"])
FRAME = st.sampled_from(["{}", "cannot open '{}'", 'at "{}": it failed', "{{'url': '{}', 'n': 1}}", "two: {0} and {0}", "→ {}, again"])
PLACE = st.text("abcdefgh0123456789./_-~%", min_size=1)


@given(SCHEME, st.sampled_from(["", "key"]), SECRET, PLACE, st.sampled_from(["", "?a=b", "?"]), FRAME)
@example("s3", "key", "Zq7se/cr@et", "b/x", "?a=b", "{}")
@example("https", "user", "Zq7pa/ss", "host", "", "cannot open '{}'")
@example("https", "u", "Zq7p'w", "h", "", '"{}"')
def test_a_password_is_never_shown(scheme: str, user: str, secret: str, place: str, query: str, frame: str) -> None:
    assert "Zq7" not in redact(frame.format(f"{scheme}://{user}:{secret}@{place}{query}"))


@given(SCHEME, st.sampled_from(["", "u:p@", "u@", "u:p/w@"]), PLACE, VISIBLE, SECRET, FRAME)
@example("https", "", "host/x", 'sig="q"', "Zq7", "{}")
@example("https", "u:p@", "host/x", "tok=", "Zq7@Zq7", "{}")
@example("https", "", "host", "tok=", "Zq7@Zq7", "{}")
def test_a_query_is_never_shown(scheme: str, user: str, place: str, before: str, secret: str, frame: str) -> None:
    assert "Zq7" not in redact(frame.format(f"{scheme}://{user}{place}?{before}&tok={secret}"))


@given(st.text().filter(lambda text: "://" not in text))
def test_text_without_a_url_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(SCHEME, PLACE, st.sampled_from(["", ":9000"]), PLACE, FRAME)
def test_a_url_without_secrets_stays_as_it_is(scheme: str, host: str, port: str, path: str, frame: str) -> None:
    text = frame.format(f"{scheme}://{host}{port}/{path}")
    assert redact(text) == text


@given(SCHEME, PLACE, VISIBLE, VISIBLE)
def test_hiding_twice_hides_no_more(scheme: str, user: str, password: str, place: str) -> None:
    once = redact(f"at {scheme}://{user}:{password}@{place} it failed")
    assert redact(once) == once
    assert once.startswith(f"at {scheme}://***")
    assert once.endswith(" it failed")


@pytest.mark.parametrize(("given_", "shown"), [
    ("s3://key:se/cr@et@b/x", "s3://***@b/x"), ("https://u:p@h/x?sig=1", "https://***@h/x?***"), ("https://h/x?sig=1", "https://h/x?***"),
    ("https://u:p@h/x?tok=a@b", "https://***"), ("https://token@h/x", "https://***@h/x"), ("s3://b/cat/a@2x.png", "s3://b/cat/a@2x.png"),
    ("is it https://h/x?", "is it https://h/x?"), ("gs://b/x and s3://k:s@b/y too", "gs://b/x and s3://***@b/y too"),
])
def test_what_is_left_tells_the_place(given_: str, shown: str) -> None:
    assert redact(given_) == shown
