output "source" {
  value = provider::lustre::mount_source(["10.0.0.1@tcp", "10.0.0.2@tcp"], "scratch")
}
