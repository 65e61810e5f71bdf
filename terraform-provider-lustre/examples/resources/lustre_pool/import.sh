terraform import lustre_pool.flash scratch.flash
