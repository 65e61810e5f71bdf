import {
  to = lustre_param.dirty
  id = "scratch/clients/osc.*.max_dirty_mb"
}
