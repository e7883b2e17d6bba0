"""The ground floor that every room stands on: store, layout, shards, lineage, cost."""
