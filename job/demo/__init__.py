"""The embedded default's own models: tiny, genuine, trained here, shipped as package data.

``weights/pipeline`` is a ``StableDiffusionPipeline`` and ``weights/clip`` a ``CLIPModel`` with its ``CLIPProcessor``:
the classes of a GPU run with small weights inside. Both saw nothing but the ``world`` part of the digits, which the
job never indexes. ``python -m job.demo.train`` makes them again, and writes ``MODEL_CARD.md`` from what it measured.
"""
