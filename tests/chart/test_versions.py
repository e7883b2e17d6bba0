"""One version everywhere: what ``make image`` makes is what chart and plain files run."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from job import __version__
from tests.chart.annotated import CHART
from tests.chart.engine import profile, render

pytestmark = pytest.mark.chart
HOME = CHART.parents[1]


def test_image_chart_and_package_are_of_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (image,) = re.findall(r"^ARG VERSION=(.*)$", (HOME / "Dockerfile").read_text(), re.MULTILINE)
    package = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["version"]
    assert {chart["version"], chart["appVersion"], image, package} == {__version__}


@pytest.mark.skipif(not shutil.which("make"), reason="make is not here")
def test_the_image_that_is_made_is_the_one_that_runs() -> None:
    said = subprocess.run(["make", "-n", "image", "BUILD=build"], cwd=HOME, capture_output=True, text=True, check=True).stdout
    head = render(profile("demo")).rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert f"-t {head['containers'][0]['image']} " in said
    assert "-t saltworks ." in said   # the short name of the README's first command
    assert f"--build-arg VERSION={__version__} " in said
    assert "--dirty" in said          # the revision of a changed tree is no commit
    assert f"saltworks:{__version__}" in (HOME / "README.md").read_text()
    assert f"`saltworks:{__version__}` is what `make image` makes" in (HOME / "k8s" / "README.md").read_text()
