resource "lustre_filesystem" "scratch" {
  name = "scratch"
}

resource "lustre_target" "mdt0" {
  kind       = "mdt"
  filesystem = lustre_filesystem.scratch.name
  index      = 0
  node       = "mds1"
  device     = "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"
}

resource "lustre_target" "ost" {
  for_each = {
    oss1 = "/dev/disk/by-id/wwn-0x5000c500a1b2c3d5"
    oss2 = "/dev/disk/by-id/wwn-0x5000c500a1b2c3d6"
  }

  kind       = "ost"
  filesystem = lustre_filesystem.scratch.name
  node       = each.key
  device     = each.value

  timeouts {
    create = "3h"
  }
}
