data "lustre_filesystem" "scratch" {
  name = "scratch"
}

output "state" {
  value = "${data.lustre_filesystem.scratch.state}: ${data.lustre_filesystem.scratch.state_reason}"
}
