import {
  to = lustre_filesystem.scratch
  id = "scratch"
}
