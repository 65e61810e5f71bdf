data "lustre_job" "format" {
  id = "ensure-scratch-ost0001-7"
}

output "progress" {
  value = [for step in data.lustre_job.format.steps : "${step.kind}: ${step.state}"]
}
