terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # the bucket is named at init, so that staging and production never share a state by mistake:
  #   terraform init -backend-config="bucket=PROJECT-terraform"
  backend "gcs" {
    prefix = "pullwright"
  }
}

provider "google" {
  project = var.project_id
  region  = var.region

  # budgets are read and written on behalf of this project
  billing_project       = var.project_id
  user_project_override = true
}
