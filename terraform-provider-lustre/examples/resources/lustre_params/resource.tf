resource "lustre_params" "clients" {
  filesystem = "scratch"
  scope      = "clients"
  exclusive  = true

  params = {
    "osc.*.max_dirty_mb"        = "512"
    "llite.*.max_read_ahead_mb" = "256"
  }
}
