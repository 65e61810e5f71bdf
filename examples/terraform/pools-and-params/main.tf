# Pools and tunables of a file system that is there already. Tunables are checked against the MGS's catalogue when the
# plan is made: a wrong name or a value out of range is an error there, at its line.

terraform {
  required_providers {
    lustre = {
      source = "chandelier/lustre"
    }
  }
}

provider "lustre" {}

variable "filesystem" {
  description = "Name of the file system."
  type        = string
  default     = "scratch"
}

variable "flash_osts" {
  description = "The OSTs on flash, as in `OST0000` or `OST[0-3]`."
  type        = set(string)
}

data "lustre_targets" "osts" {
  filesystem = var.filesystem
  kind       = "ost"
}

resource "lustre_pool" "flash" {
  filesystem = var.filesystem
  name       = "flash"
  members    = var.flash_osts
}

resource "lustre_param" "dirty" {
  filesystem = var.filesystem
  scope      = "clients"
  name       = "osc.*.max_dirty_mb"
  value      = "512"
}

resource "lustre_param" "timeout" {
  filesystem = var.filesystem
  name       = "timeout"
  value      = "300"
}

output "osts" {
  value = { for target in data.lustre_targets.osts.targets : target.svname => target.state }
}

output "flash" {
  value = lustre_pool.flash.members
}
