"""Writes what is generated of the chart: ``make chart``, or ``python -m tests.chart_files``.

The schema of its values, the table in its README, and the profiles as plain files below ``k8s/``. The tier ``chart`` fails
where any differs from what stands in the repository.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chart import annotated
from tests.chart.annotated import CHART
from tests.chart.definitions import DEFINITIONS, GROUP_NAME
from tests.chart.settings_schema import settings_schema

HOME = Path(__file__).parents[1]
SCHEMA, README = CHART / "values.schema.json", CHART / "README.md"
BEGIN, END = "<!-- values:begin -->", "<!-- values:end -->"


def schema_text() -> str:
    """The closed schema of the chart's values."""
    schema = annotated.closed(list(annotated.values()))
    group: dict[str, Any] = json.loads(json.dumps(schema["properties"]["workerDefaults"]))
    for one in group["properties"].values():
        one.pop("default", None)
    group["properties"] = {"name": GROUP_NAME} | group["properties"]
    schema["properties"]["global"] = {"type": "object", "description": "what Helm hands to every chart; unused"}
    shared = DEFINITIONS | {"workerGroup": group | {"required": ["name"]}, "settings": settings_schema()}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Values of the chart saltworks"}
    return json.dumps(head | schema | {"$defs": shared}, indent=1, ensure_ascii=False) + "\n"


def with_table(readme: str) -> str:
    """The chart's README with the table of today. Raises ``ValueError`` unless each marker stands there once."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"{README} needs {BEGIN} and {END}, once each")
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{annotated.table(list(annotated.values()))}\n{END}{rest.partition(END)[2]}"


def files() -> Iterator[tuple[Path, str]]:
    """Every generated file and what it should hold; the schema first, since rendering reads it."""
    yield SCHEMA, schema_text()
    yield README, with_table(README.read_text())
    from tests.chart.engine import PROFILES
    from tests.chart.static import all_yaml, kustomization

    for name in PROFILES:
        yield HOME / "k8s" / name / "all.yaml", all_yaml(name)
        yield HOME / "k8s" / name / "kustomization.yaml", kustomization(name)


def main() -> None:
    """Write all of them, and say so."""
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(HOME)}, {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
