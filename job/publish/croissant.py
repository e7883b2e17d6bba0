"""The Croissant 1.1 description of a version: JSON-LD that data catalogues and loaders read.

Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, with the vocabulary for responsible AI
(http://mlcommons.org/croissant/RAI/1.0). Every file of the version is a FileObject with its sha256; the addresses are
relative to this description, so the root may lie anywhere. Made from the version, so it can be made again. The pictures
are no record set: a set of files has to lie below the description, and shards are shared by all datasets of the root.
"""

import json
from datetime import UTC, datetime
from typing import Any

from job.ground import layout
from job.ground.store import Store
from job.publish.card import CARD, limits
from job.publish.model import File, Version

DESCRIPTION = "croissant.json"
UP = "../../../"   # from <dataset>/versions/<number>/ to the root
PARQUET = "application/x-parquet"
CONTEXT: dict[str, Any] = {   # as the specification prescribes it
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"}, "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "name": {"@container": "@language"}, "parentField": "cr:parentField", "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#", "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}
KINDS = {"images": "synthetic images of one class, with prompt, seed, model and licence", "mix": "the recommended training set",
         "decisions": "what became of every sample of one class, and why", "split": "the real images, by id",
         "report": "the report of the run"}
COLUMNS = {
    "kind": ("sc:Text", "real or synthetic"), "id": ("sc:Text", "of the image; with privacy a real image's pixel digest"),
    "label": ("sc:Text", "name of its class"), "class_key": ("sc:Text", "name of its class in the store"),
    "digest": ("sc:Text", "of a real image's pixels"), "shard": ("sc:Text", "file that holds a synthetic image, below the root"),
    "row": ("sc:Integer", "its row there"), "index": ("sc:Integer", "its number among the samples of its class"),
}


def write(store: Store, version: Version) -> str:
    """Make the description, over an earlier one of the same version; returns its key."""
    key = layout.version_file(version.dataset, version.number, DESCRIPTION)
    published = layout.version(version.dataset, version.number)
    age_s = next(age for one, _, age in store.ages(layout.versions(version.dataset)) if one == published)
    day = datetime.fromtimestamp(store.clock() - age_s, UTC).date().isoformat()
    store.replace(key, (json.dumps(describe(version, day), indent=1, ensure_ascii=False) + "\n").encode())
    return key


def describe(version: Version, published: str) -> dict[str, Any]:
    """The description as plain JSON values; ``published``: the day, as YYYY-MM-DD."""
    lineage, judged = version.lineage, version.judged
    return {
        "@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": version.dataset, "version": f"{version.number}.0.0", "datePublished": published, "isLiveDataset": False,
        "description": f"{version.counts.kept} synthetic images of {len(version.classes)} classes, drawn by {lineage.model!r} and judged "
                       f"on {judged.n_test} real images. {judged.sentence}",
        "license": lineage.licence, "url": CARD, "creator": {"@type": "sc:Organization", "name": "saltworks"},
        "keywords": ["synthetic", *(one.name for one in version.classes)],
        "citeAs": f"{version.dataset}, version {version.number}, run {version.run}; sha256 of the file list {version.files_sha256}",
        "distribution": [_file(one) for one in version.files],
        "recordSet": [_records("mix", "The recommended training set, one record per image; the card tells how to open the pictures",
                               COLUMNS, {"fileObject": {"@id": version.of("mix")[0].key}})],
        **_responsible(version),
    }


def _responsible(version: Version) -> dict[str, Any]:
    """What the vocabulary for responsible AI asks for."""
    lineage, counts = version.lineage, version.counts
    private = " No real file is named; a pixel digest stands for each." if version.privacy else " Real images are named, not copied."
    return {
        "rai:hasSyntheticData": True,
        "rai:dataCollection": f"Drawn by the generator {lineage.generator!r} with the model {lineage.model!r} (revision "
                              f"{lineage.revision or 'none'}, weights {lineage.weights}) from the prompts {lineage.templates}.",
        "rai:dataCollectionType": ["Synthetic"],
        "rai:dataPreprocessingProtocol": [f"{counts.planned} samples were planned, {counts.kept} kept, {counts.rejected} rejected by a "
                                          f"filter, {counts.failed} failed, {counts.unused} were beyond the quota; every reason is kept."],
        "rai:dataAnnotationProtocol": "An image's label is the class that its prompt asked for.",
        "rai:machineAnnotationTools": [f"{lineage.generator}: {lineage.model}"],
        "rai:dataUseCases": [f"Training beside real images, at a synthetic share of {version.judged.alpha_star:g}; not for validation "
                             "or test."],
        "rai:dataLimitations": limits(version),
        "rai:dataBiases": [f"The images carry the biases of the model {lineage.model!r} and of its training data."],
        "rai:personalSensitiveInformation": [f"The images published are synthetic.{private}"],
        "prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": f"run {version.run}"},
        "prov:wasDerivedFrom": [{"@type": "prov:Entity", "prov:label": one} for one in lineage.ancestry],
    }


def _file(file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": file.key, "name": file.key.rpartition("/")[2], "description": KINDS[file.kind],
        "contentUrl": f"{UP}{file.key}", "contentSize": f"{file.bytes} B", "sha256": file.sha256,
        "encodingFormat": "application/json" if file.kind == "report" else PARQUET,
    }


def _records(name: str, description: str, columns: dict[str, tuple[str, str]], source: dict[str, Any]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description, "key": {"@id": f"{name}/id"}, "field": [
        {"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "dataType": kind, "description": told,
         "source": {**source, "extract": {"column": column}}}
        for column, (kind, told) in columns.items()]}
