output "network" {
  value = provider::lustre::nid_parse("10.0.0.1@o2ib1").network
}
