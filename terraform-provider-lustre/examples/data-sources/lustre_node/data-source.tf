data "lustre_node" "oss1" {
  name = "oss1"
}

output "lustre_on_oss1" {
  value = data.lustre_node.oss1.lustre_version
}
