data "lustre_targets" "osts" {
  filesystem = "scratch"
  kind       = "ost"
}

output "osts" {
  value = { for target in data.lustre_targets.osts.targets : target.svname => "${target.node}:${target.device}" }
}
