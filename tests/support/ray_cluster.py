"""Two nodes of Ray on this machine, a core each, all of them processes: the second is killed at the first line read."""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
sys.stdout.write(f"{cluster.address}\n")
sys.stdout.flush()
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
sys.stdout.write("killed\n")
sys.stdout.flush()
sys.stdin.read()
cluster.shutdown()
