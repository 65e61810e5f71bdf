import {
  to = lustre_nodemaps.this
  id = "nodemaps"
}
