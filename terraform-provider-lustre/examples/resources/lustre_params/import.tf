import {
  to = lustre_params.clients
  id = "scratch/clients"
}
