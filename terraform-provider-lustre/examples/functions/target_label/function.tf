output "label" {
  value = provider::lustre::target_label("scratch", "ost", 31)
}
