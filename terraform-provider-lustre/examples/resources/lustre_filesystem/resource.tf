resource "lustre_filesystem" "scratch" {
  name        = "scratch"
  description = "Scratch space of the cluster"
}

output "mount" {
  value = "mount -t lustre ${lustre_filesystem.scratch.mount_source} /mnt/scratch"
}
