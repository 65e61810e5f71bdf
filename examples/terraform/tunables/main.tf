# Tunables of a file system that is there already, and whether every node really has them. The catalogue says what is legal;
# the check says which node has another value, and why.

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

variable "tunables" {
  description = "Tunables of the whole file system, by name."
  type        = map(string)
  default = {
    "osc.*.max_dirty_mb"        = "64M"
    "osc.*.max_pages_per_rpc"   = "4M"
    "llite.*.max_read_ahead_mb" = "256"
  }
}

resource "lustre_param" "this" {
  for_each = var.tunables

  filesystem = var.filesystem
  name       = each.key
  value      = each.value
}

data "lustre_param_catalogue" "read_ahead" {
  contains = "max_read_ahead"
}

data "lustre_param_proof" "this" {
  for_each = lustre_param.this

  filesystem = each.value.filesystem
  name       = each.value.name
}

check "every_node_has_them" {
  assert {
    condition = alltrue([for proof in data.lustre_param_proof.this : proof.is_proven])
    error_message = join("; ", flatten([
      for proof in data.lustre_param_proof.this : [
        for node in proof.nodes : "${node.node}: ${coalesce(node.message, node.state)}" if node.state != "applied"
      ]
    ]))
  }
}

# Nodes that have something else are drift: a plan shows them, and its apply sets the value there again.
output "proof" {
  value = { for name, param in lustre_param.this : name => param.proof }
}

output "both_names" {
  value = { for name, param in lustre_param.this : param.canonical_name => param.conf_param_name }
}

output "known_of_read_ahead" {
  value = [for entry in data.lustre_param_catalogue.read_ahead.entries : entry.name]
}
