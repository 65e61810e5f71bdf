terraform import lustre_param.dirty 'scratch/clients/osc.*.max_dirty_mb'
