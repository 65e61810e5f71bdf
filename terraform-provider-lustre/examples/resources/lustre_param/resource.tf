resource "lustre_param" "dirty" {
  filesystem = "scratch"
  scope      = "clients"
  name       = "osc.*.max_dirty_mb"
  value      = "512"
}
