import {
  to = lustre_nodemap.computes
  id = "computes"
}
