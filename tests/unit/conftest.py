"""What the tests of finished runs share."""

from pathlib import Path

import pytest

from tests.unit.made_run import Made, make_run
from tests.unit.publishing import memory


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real pictures of a module's runs stand once the first run is made."""
    return tmp_path_factory.mktemp("pets") / "real"


@pytest.fixture
def made(real: Path) -> Made:
    """A finished run in a store of its own."""
    return make_run(memory(), real)
