output "nodes" {
  value = provider::lustre::nodelist_expand("oss[01-16],mds1")
}
