"""The JSON schema of ``report.json``, for the programs that read it: ``python -m job.report.schema > docs/report.schema.json``."""

import json

from job.report.model import Report


def schema() -> str:
    """The schema (JSON Schema 2020-12) as indented text with a newline at its end."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema(mode="serialization")}
    made["required"] = list(made["properties"])   # fields with a default are always written too
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema(), end="")
