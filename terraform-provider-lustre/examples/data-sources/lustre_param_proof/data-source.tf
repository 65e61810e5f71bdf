data "lustre_param_proof" "dirty" {
  filesystem = "scratch"
  name       = "osc.*.max_dirty_mb"
}

check "every_node_has_it" {
  assert {
    condition     = data.lustre_param_proof.dirty.is_proven
    error_message = join("; ", [for node in data.lustre_param_proof.dirty.nodes : "${node.node}: ${node.state}"])
  }
}
