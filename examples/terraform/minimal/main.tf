# One file system, one metadata target and one object storage target on one server.
#
#   export LUSTRE_MGS_ENDPOINT=http://mgs1:7070
#   terraform apply -var node=oss1 -var mdt_device=/dev/sdb -var ost_device=/dev/sdc

terraform {
  required_providers {
    lustre = {
      source = "chandelier/lustre"
    }
  }
}

# Where the MGS is: LUSTRE_MGS_ENDPOINT.
provider "lustre" {}

variable "node" {
  description = "The server, by the name under which its agent enrolled."
  type        = string
}

variable "mdt_device" {
  description = "Block device for the MDT."
  type        = string
}

variable "ost_device" {
  description = "Block device for the OST."
  type        = string
}

resource "lustre_filesystem" "tiny" {
  name        = "tiny"
  description = "The smallest file system there is"
}

resource "lustre_target" "mdt0" {
  kind       = "mdt"
  filesystem = lustre_filesystem.tiny.name
  index      = 0
  node       = var.node
  device     = var.mdt_device
}

resource "lustre_target" "ost0" {
  kind       = "ost"
  filesystem = lustre_filesystem.tiny.name
  index      = 0
  node       = var.node
  device     = var.ost_device
}

output "mount_source" {
  description = "What clients mount; null while the MGS has no NID."
  value       = lustre_filesystem.tiny.mount_source
}
