"""The life of versions on S3: the same objects, the same pointer, the same clean-up as on a folder."""

import re
from pathlib import Path

import pytest

from job.ground import layout
from job.ground.store import Store
from job.publish import card, croissant, pointer
from job.publish.gc import gc
from job.publish.verify import verify
from tests.unit.made_run import make_run
from tests.unit.publishing import contents, memory, publish_it

pytestmark = pytest.mark.contract


def test_versions_live_on_s3_as_they_do_in_memory(bucket: str, tmp_path: Path) -> None:
    stores = [Store(bucket, retry_s=5), memory()]
    for store in stores:
        for number in (0, 1):
            made = make_run(store, tmp_path / "real", edition=f"e{number}", flags=(f"--sweep.alphas=0,.5,.{7 + number}",))
            version, moved = publish_it(made, Store(store.url, 5))
            assert moved
            verify(store, "pets", version.number).check()
            card.write(store, version)
            croissant.write(store, version)
        assert pointer.rollback(store, "pets", 1) == pointer.latest(store, "pets")
        store.delete(layout.version("pets", 2))   # the user gives a version up
        told = gc(store, "pets", 0, confirm=False)
        assert gc(store, "pets", 0, confirm=True)
        assert any("/commits/" in one.key for one in told)
        verify(store, "pets", 1).check()
        assert pointer.latest(store, "pets").version == 1   # type: ignore[union-attr]
    on_s3, in_memory = (   # a report tells how fast its images were drawn, so its digest differs
        {re.sub(r"/report-\w{64}", "/report", key) for key in contents(store) if "/submissions/" not in key} for store in stores)
    assert on_s3 == in_memory
