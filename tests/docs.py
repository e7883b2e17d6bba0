"""Writes what is generated: ``make docs``, or ``python -m tests.docs``.

The settings table between its markers in README.md, and the JSON schemas of report.json and of a version. ``make test``
fails where any differs from what stands in the repository.
"""

from pathlib import Path

from job.settings_table import settings_table

HOME = Path(__file__).parents[1]
README = HOME / "README.md"
SCHEMA = HOME / "docs" / "report.schema.json"
VERSION_SCHEMA = HOME / "docs" / "version.schema.json"
BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"


def with_table(readme: str) -> str:
    """The page with the table of today between its markers. Raises ``ValueError`` unless each marker stands there once."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md needs {BEGIN} and {END}, once each")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{settings_table()}\n{END}{after}"


def schema_text() -> str:
    """The JSON schema of ``report.json`` as it stands in docs/."""
    from job.report.schema import schema  # pulls in more than the table needs

    return schema()


def version_schema_text() -> str:
    """The JSON schema of a version as it stands in docs/."""
    from job.publish.model import schema

    return schema()


def main() -> None:
    """Write all of them, and say so."""
    for path, text in ((README, with_table(README.read_text())), (SCHEMA, schema_text()), (VERSION_SCHEMA, version_schema_text())):
        path.write_text(text)
        print(f"wrote {path.relative_to(HOME)}, {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
