terraform import lustre_target.mdt0 scratch-MDT0000
