terraform import lustre_params.clients scratch/clients
