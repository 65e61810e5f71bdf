resource "lustre_nodemaps" "this" {
  active           = true
  confirm_within_s = 600
}
