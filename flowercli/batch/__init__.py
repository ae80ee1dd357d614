"""Photographs by the million: a chunk of paths becomes one Parquet file, here, in shards, or on a cluster; no torch."""
