# Who has which ids: servers keep theirs, compute nodes are mapped, everybody else is squashed and can't mount.

terraform {
  required_providers {
    lustre = {
      source = "chandelier/lustre"
    }
  }
}

provider "lustre" {}

variable "servers" {
  description = "NIDs of the servers."
  type        = set(string)
  default     = ["10.0.0.[1-9]@tcp"]
}

variable "computes" {
  description = "NIDs of the compute nodes."
  type        = set(string)
  default     = ["10.0.1.*@tcp", "10.0.2.[1-100]@tcp"]
}

variable "uids" {
  description = "User ids of the compute nodes, with those of the file systems."
  type        = map(number)
  default     = { 500 = 600, 501 = 601 }
}

variable "confirm_within_s" {
  description = "Nodemaps go out of force again unless somebody confirms them within so many seconds."
  type        = number
  default     = 600
}

resource "lustre_nodemap" "servers" {
  name    = "servers"
  ranges  = var.servers
  admin   = true
  trusted = true
}

resource "lustre_nodemap" "computes" {
  name         = "computes"
  ranges       = var.computes
  uids         = var.uids
  gids         = var.uids
  deny_unknown = true
  fileset      = "/projects"
}

resource "lustre_nodemap" "default" {
  name       = "default"
  deny_mount = true
}

# Last: before it is in force, nobody notices a mistake; afterwards it goes back by itself unless it is confirmed.
resource "lustre_nodemaps" "this" {
  active           = true
  confirm_within_s = var.confirm_within_s

  depends_on = [lustre_nodemap.servers, lustre_nodemap.computes, lustre_nodemap.default]
}

output "numbers" {
  value = { for map in [lustre_nodemap.servers, lustre_nodemap.computes, lustre_nodemap.default] : map.name => map.number }
}
