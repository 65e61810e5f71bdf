import {
  to = lustre_target.mdt0
  id = "scratch-MDT0000"
}
