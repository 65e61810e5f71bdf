data "lustre_param_catalogue" "dirty" {
  contains = "max_dirty_mb"
}

output "dirty_limits" {
  value = { for entry in data.lustre_param_catalogue.dirty.entries : entry.name => entry.max }
}
