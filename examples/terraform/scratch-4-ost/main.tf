# A scratch file system: one MDT, and an OST on each device of each object storage server. The MGS assigns the OSTs'
# indices; adding a device to the list adds an OST, and nothing else changes.

terraform {
  required_providers {
    lustre = {
      source = "chandelier/lustre"
    }
  }
}

provider "lustre" {}

variable "mds" {
  description = "The metadata server and the device of its MDT."
  type = object({
    node   = string
    device = string
  })
}

variable "oss" {
  description = "For each object storage server, the devices of its OSTs. Devices of retired OSTs leave the list, never move in it."
  type        = map(list(string))
}

locals {
  osts = merge([
    for node, devices in var.oss : {
      for device in devices : "${node}:${device}" => { node = node, device = device }
    }
  ]...)
}

resource "lustre_filesystem" "scratch" {
  name        = "scratch"
  description = "Scratch space of the cluster"
}

resource "lustre_target" "mdt0" {
  kind       = "mdt"
  filesystem = lustre_filesystem.scratch.name
  index      = 0
  node       = var.mds.node
  device     = var.mds.device
}

resource "lustre_target" "ost" {
  for_each = local.osts

  kind       = "ost"
  filesystem = lustre_filesystem.scratch.name
  node       = each.value.node
  device     = each.value.device

  timeouts {
    create = "3h"
  }
}

# Read when everything is made: the attributes of the resource were read when it was made itself.
data "lustre_filesystem" "scratch" {
  name       = lustre_filesystem.scratch.name
  depends_on = [lustre_target.mdt0, lustre_target.ost]
}

output "mount_source" {
  value = lustre_filesystem.scratch.mount_source
}

output "state" {
  value = data.lustre_filesystem.scratch.state
}

output "osts" {
  description = "Which OST is where."
  value       = { for place, target in lustre_target.ost : target.svname => place }
}
