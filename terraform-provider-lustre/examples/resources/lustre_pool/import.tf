import {
  to = lustre_pool.flash
  id = "scratch.flash"
}
