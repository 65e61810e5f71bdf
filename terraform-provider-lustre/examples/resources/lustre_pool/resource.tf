resource "lustre_pool" "flash" {
  filesystem = "scratch"
  name       = "flash"
  members    = ["OST[0-1]"]
}
