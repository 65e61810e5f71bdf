terraform import lustre_mgs_proxy.mgs1 mgs1
