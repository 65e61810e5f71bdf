terraform {
  required_providers {
    lustre = {
      source = "chandelier/lustre"
    }
  }
}

provider "lustre" {
  endpoint = "http://mgs1:7070"
}
