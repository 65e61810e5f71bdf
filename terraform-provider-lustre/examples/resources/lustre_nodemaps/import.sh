terraform import lustre_nodemaps.this nodemaps
