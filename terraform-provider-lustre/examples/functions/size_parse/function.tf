output "bytes" {
  value = provider::lustre::size_parse("64M")
}
