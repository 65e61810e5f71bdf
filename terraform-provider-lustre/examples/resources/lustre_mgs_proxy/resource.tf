# The MGS on mgs1 serves InfiniBand through the kernel; the module is installed there by DKMS.
resource "lustre_mgs_proxy" "mgs1" {
  node = "mgs1"
}
