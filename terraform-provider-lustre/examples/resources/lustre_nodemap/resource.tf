resource "lustre_nodemap" "computes" {
  name         = "computes"
  ranges       = ["10.0.1.*@tcp"]
  uids         = { 500 = 600, 501 = 601 }
  deny_unknown = true

  # It goes back by itself unless somebody confirms it: mgsctl nodemap confirm computes
  confirm_within_s = 600
}
