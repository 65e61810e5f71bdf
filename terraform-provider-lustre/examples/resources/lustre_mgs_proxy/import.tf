import {
  to = lustre_mgs_proxy.mgs1
  id = "mgs1"
}
