data "lustre_devices" "oss1" {
  node             = "oss1"
  only_formattable = true
}

output "free_on_oss1" {
  value = [for device in data.lustre_devices.oss1.devices : device.path]
}
